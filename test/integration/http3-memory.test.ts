/**
 * What HTTP/3 keeps in memory when one side is slow. The library reads uploads without a bound and shares 4 MiB of
 * unsent bytes between all downloads (docs/decisions/002-http3-package.md); the endpoint must do neither.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile, readdir, readlink } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { afterEach, expect, test } from 'vitest'
import type { ServerReport } from '../support/h3-server-process.ts'
import { H3Client } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

const MEGABYTE = 1024 * 1024
const SERVER = new URL('../support/h3-server-process.ts', import.meta.url)
const IDLE_CLIENT = new URL('../support/h3-idle-client-process.ts', import.meta.url)
const CHUNK_BYTES = 256 * 1024

class Server implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly port: number
  peakBytes = 0
  readonly startBytes: number

  constructor(child: ChildProcess, port: number, startBytes: number) {
    this.#child = child
    this.port = port
    this.startBytes = startBytes
  }

  static async start(): Promise<Server> {
    const child = fork(SERVER)
    const [message] = (await once(child, 'message')) as [{ port?: number; error?: string }]
    if (message.port === undefined) throw new Error(message.error)
    const { rssBytes } = await ask(child)
    return new Server(child, message.port, rssBytes)
  }

  async report(): Promise<ServerReport> {
    const report = await ask(this.#child)
    this.peakBytes = Math.max(this.peakBytes, report.rssBytes)
    return report
  }

  /** Paths of open files that have no name any more. */
  async unlinkedFiles(): Promise<string[]> {
    const directory = `/proc/${this.#child.pid}/fd`
    const links = await Promise.all(
      (await readdir(directory)).map((fd) => readlink(`${directory}/${fd}`).catch(() => '')),
    )
    return links.filter(
      (path) => path.endsWith(' (deleted)') && path.startsWith('/') && !path.includes('memfd'),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exit = once(this.#child, 'exit')
    this.#child.disconnect()
    await exit
  }
}

async function ask(child: ChildProcess): Promise<ServerReport> {
  const answer = once(child, 'message')
  child.send('report')
  const [report] = (await answer) as [ServerReport]
  return report
}

/** Writes `total` bytes that differ from place to place and ends. Gives their hash. */
async function upload(stream: Writable, total: number, between: () => Promise<unknown>): Promise<string> {
  const hash = createHash('sha256')
  for (let sent = 0; sent < total; sent += CHUNK_BYTES) {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, total - sent), sent.toString(36).padStart(7, '-'))
    hash.update(chunk)
    if (!stream.write(chunk)) await once(stream, 'drain')
    if (sent % (16 * MEGABYTE) === 0) await between()
  }
  stream.end()
  return hash.digest('hex')
}

let idle: ChildProcess | undefined

afterEach(() => {
  idle?.kill('SIGKILL')
  idle = undefined
})

test('1 GiB to a target that does not read stays below 150 MiB of memory', { timeout: 180_000 }, async () => {
  await using server = await Server.start()
  await using client = await H3Client.open(server.port)
  const { stream } = await client.tunnel('stall')
  // A little less than the budget and the memory together, so the last byte fits.
  await upload(stream, 1024 * MEGABYTE, () => server.report())
  await expect.poll(async () => (await server.report()).heldBytes, { timeout: 60_000 }).toBe(1024 * MEGABYTE)
  const { counters } = await server.report()
  expect(counters.spill_bytes).toBeGreaterThan(1000 * MEGABYTE)
  expect((server.peakBytes - server.startBytes) / MEGABYTE).toBeLessThan(150)
  expect(await server.unlinkedFiles()).toHaveLength(1)
  // The file is removed when the client leaves. A client announces its close only once (RFC 9000 section 10.2), and a
  // datagram that arrives when the socket has no room left is lost: so nothing else may be under way, or only the idle
  // limit ends the session. This test used not to wait, and failed now and then.
  await client.session.close()
  await expect.poll(() => server.unlinkedFiles(), { timeout: 10_000 }).toEqual([])
})

test(
  '200 MiB to a target that reads 20 MB/s arrive in order and complete',
  { timeout: 180_000 },
  async () => {
    await using server = await Server.start()
    await using client = await H3Client.open(server.port)
    const { stream } = await client.tunnel('slow')
    stream.resume()
    const ended = once(stream, 'end')
    const sha256 = await upload(stream, 200 * MEGABYTE, () => server.report())
    await ended
    const { received, counters } = await server.report()
    expect(received).toEqual({ bytes: 200 * MEGABYTE, sha256 })
    expect(counters.spill_bytes).toBeGreaterThan(MEGABYTE)
    await expect.poll(() => server.unlinkedFiles(), { timeout: 10_000 }).toEqual([])
  },
)

test('a client that does not read holds little memory and nobody up', { timeout: 120_000 }, async () => {
  await using server = await Server.start()
  idle = fork(IDLE_CLIENT, [String(server.port), '100'])
  await once(idle, 'message')
  idle.kill('SIGSTOP')
  for (let look = 0; look < 20; look++) {
    await server.report()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  // Most likely one connection for each native thread: all of them still get what they ask for.
  for (let round = 0; round < 6; round++) {
    await using client = await H3Client.open(server.port)
    const { stream } = await client.tunnel('give')
    let bytes = 0
    stream.on('data', ({ length }: Buffer) => (bytes += length))
    stream.end()
    await once(stream, 'end')
    expect(bytes).toBe(16 * MEGABYTE)
  }
  const { counters } = await server.report()
  expect(counters.http3_stuck_streams).toBeUndefined()
  expect((server.peakBytes - server.startBytes) / MEGABYTE).toBeLessThan(250)
  expect(await readFile(`/proc/${idle.pid}/stat`, 'utf8')).toMatch(/\) T /u)
})

expectNothingLeftOpen()
