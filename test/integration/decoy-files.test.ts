/**
 * A client that makes the decoy site wait does not keep files open. A stranger with 300 requests over HTTP/2
 * and a window of 0 held all 256 that might be open, and everyone else got 500. Answers behind a CONNECT on
 * one HTTP/1.1 connection were never finished: their file was left to the garbage collector, which ends the process for
 * that.
 */
import { once } from 'node:events'
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readdirSync, readlinkSync } from 'node:fs'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OPEN_EDGE, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { H2Client, answerOf } from '../support/h2-client.ts'
import { readAll } from '../support/reading.ts'

const BIG_BYTES = 16 * 1_048_576
/** On each of three connections; a visitor may have 128. */
const REQUESTS = 100

let endpoint: TestEndpoint
let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-files-'))
  const root = join(directory, 'site')
  await mkdir(root)
  const big = await open(join(root, 'big.bin'), 'w')
  await big.truncate(BIG_BYTES)
  await big.close()
  const index = await open(join(root, 'index.html'), 'w')
  await index.writeFile('<p>home</p>')
  await index.close()
  endpoint = await startEndpoint({
    keys: 'auth_failure_status_code = 405',
    tables: `${OPEN_EDGE}[culvert.decoy]\nroot = "${root}"\n`,
  })
})

afterAll(async () => {
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
  await rm(directory, { recursive: true })
})

/** Descriptors of this process, lanes included, on files of the site. */
function openFiles(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory)
    } catch {
      return false
    }
  }).length
}

async function noneOpen(): Promise<void> {
  await expect.poll(openFiles, { timeout: 10_000 }).toBe(0)
}

async function visit(): Promise<number> {
  await using client = await H2Client.open({ port: endpoint.port })
  const { status, stream } = await answerOf(client.session.request({ ':path': '/' }))
  await readAll(stream)
  return status
}

describe('a file of the site', () => {
  it('a file of the site is there for other visitors when one reads none of his three hundred', async () => {
    await using connections = new AsyncDisposableStack()
    const connect = async (): Promise<H2Client> =>
      connections.use(await H2Client.open({ port: endpoint.port, settings: { initialWindowSize: 0 } }))
    const clients = [await connect(), await connect(), await connect()]
    const streams = clients.flatMap(({ session }) =>
      Array.from({ length: REQUESTS }, () => session.request({ ':path': '/big.bin' })),
    )
    const answers = await Promise.all(streams.map((stream) => answerOf(stream.on('error', () => {}))))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    await noneOpen()
    expect(await visit()).toBe(200)
  })

  it('a file of the site is closed when its answer waits behind another and the connection goes', async () => {
    for (let turn = 0; turn < 20; turn++) {
      const socket = connectTls({
        host: '127.0.0.1',
        port: endpoint.port,
        servername: 'vpn.endpoint',
        rejectUnauthorized: false,
      })
      const get = 'GET /big.bin HTTP/1.1\r\nHost: vpn.endpoint\r\n\r\n'
      socket.write(`${get}${get}CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n`)
      await once(socket, 'readable')
      socket.destroy()
      await once(socket, 'close')
    }
    await noneOpen()
    expect(await visit()).toBe(200)
  })
})

expectNothingLeftOpen()
