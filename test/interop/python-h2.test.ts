/** A client on Python's `h2` (Debian python3-h2), which is strict about flow control and can send a bare RST_STREAM. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { buffer, json } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { OFFICIAL_HTTP2 } from '../support/http2-options.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openEcho, openTcpTarget } from '../support/targets.ts'

const PYTHON = '/usr/bin/python3'
const SCRIPT = fileURLToPath(new URL('h2_client.py', import.meta.url))

function hasH2(): boolean {
  try {
    execFileSync(PYTHON, ['-c', 'import h2.connection'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const available = hasH2()
describe.skipIf(!available)(`Python h2${available ? '' : ' (skipped: no python3-h2 here)'}`, () => {
  let endpoint: TestEndpoint
  beforeAll(async () => {
    endpoint = await startEndpoint()
  })
  afterAll(async () => {
    await endpoint.waitUntilFree()
    await endpoint[Symbol.asyncDispose]()
  })

  function start(scenario: string, authority = '', { port }: TestEndpoint = endpoint) {
    const authorization = encodeBasicAuth(USER.username, USER.password)
    const args = [SCRIPT, String(port), authorization, scenario, authority]
    const child = spawn(PYTHON, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    const finish = async (): Promise<unknown> => {
      child.stdin.end()
      const [answer, stderr, [code]] = await Promise.all([
        json(child.stdout).catch(() => undefined),
        buffer(child.stderr),
        once(child, 'close'),
      ])
      expect([code, stderr.toString()]).toEqual([0, ''])
      return answer
    }
    return { finish }
  }

  it('Python h2 sees the settings and windows of nginx where the files set none', async () => {
    expect(await start('settings').finish()).toEqual({
      initialWindowSize: 65_536,
      maxConcurrentStreams: 128,
      maxHeaderListSize: null,
      enableConnectProtocol: 0,
      connectionWindow: 2_147_483_647,
    })
  })

  it('Python h2 sees the settings and windows of the files', async () => {
    await using other = await startEndpoint({ protocols: ['http1'], tables: OFFICIAL_HTTP2 })
    expect(await start('settings', '', other).finish()).toEqual({
      initialWindowSize: 131_072,
      maxConcurrentStreams: 1000,
      maxHeaderListSize: 65_536,
      enableConnectProtocol: 0,
      connectionWindow: 8_388_608,
    })
  })

  it('Python h2 gets END_STREAM with the 200 of _check', async () => {
    expect(await start('check', '_check').finish()).toEqual({ status: '200', endStream: true })
  })

  it('Python h2 has its bytes echoed within the windows', async () => {
    await using echo = await openEcho()
    expect(await start('echo', echo.authority).finish()).toEqual({ bytes: 3_000_000, whole: true })
  })

  it('Python h2 resets with CANCEL: the target sees RST, the session stays', async () => {
    await using target = await openTcpTarget((socket) => socket.pipe(socket))
    const arrival = target.nextSocket()
    const client = start('cancel', target.authority)
    const socket = await arrival
    let ended = false
    socket.once('end', () => (ended = true))
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
    expect([error.code, ended]).toEqual(['ECONNRESET', false])
    expect(await client.finish()).toEqual({ alive: true })
  })

  it('Python h2 resets with NO_ERROR: the target sees FIN, the session stays', async () => {
    await using target = await openTcpTarget((socket) => socket.pipe(socket, { end: false }))
    const arrival = target.nextSocket()
    const client = start('no-error', target.authority)
    const socket = await arrival
    await once(socket, 'end')
    socket.end()
    await once(socket, 'close')
    expect(socket.errored).toBe(null)
    expect(await client.finish()).toEqual({ alive: true })
  })
})

expectNothingLeftOpen()
