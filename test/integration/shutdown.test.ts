/** Shutdown by a signal, as clients see it over HTTP/2: GOAWAY first, then time for what is open. */
import { once } from 'node:events'
import http2 from 'node:http2'
import { connect as connectTcp } from 'node:net'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Clock } from '../../src/clock.ts'
import { testCertificate } from '../support/certificate.ts'
import { startEndpoint, USER } from '../support/endpoint.ts'
import { EndpointProcess } from '../support/endpoint-process.ts'
import { H2Client } from '../support/h2-client.ts'
import { Happened } from '../support/happened.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll, readBytes } from '../support/reading.ts'
import { openEcho } from '../support/targets.ts'

const grace = (seconds: number) => ({ tables: `[culvert]\nshutdown_grace_secs = ${seconds}\n` })
const LONG = grace(3600)

async function start(options: { tables: string }) {
  const endpoint = await EndpointProcess.start(options)
  const client = await H2Client.open({ port: endpoint.port, ...USER })
  // Our handshake is complete before the endpoint's; its answer shows that the session exists there too.
  await new Promise((resolve) => client.session.ping(resolve))
  const goaway = once(client.session, 'goaway')
  const closed = once(client.session, 'close')
  return { endpoint, client, goaway, closed }
}

describe('the first signal', () => {
  it('the first signal ends a session without streams at once, with GOAWAY', async () => {
    const { endpoint, goaway, closed } = await start(LONG)
    await using _ = endpoint
    endpoint.program.signal('SIGTERM')
    expect((await goaway)[0]).toBe(http2.constants.NGHTTP2_NO_ERROR)
    await closed
    expect((await endpoint.program.finished).code).toBe(0)
  })

  it('the first signal lets an open tunnel finish, and ends when it has', async () => {
    await using echo = await openEcho()
    const { endpoint, client, goaway, closed } = await start(LONG)
    await using _ = endpoint
    const { stream } = await client.connect(echo.authority)
    stream.write('before')
    await readBytes(stream, 6)
    endpoint.program.signal('SIGTERM')
    await goaway
    const content = Buffer.alloc(1_000_000, 'after')
    stream.end(content)
    expect((await readAll(stream)).equals(content)).toBe(true)
    await closed
    expect((await endpoint.program.finished).code).toBe(0)
    await expect.poll(() => echo.sockets.size).toBe(0)
  })

  it('the first signal refuses clients that connect again meanwhile', async () => {
    await using echo = await openEcho()
    const { endpoint, client, goaway } = await start(LONG)
    await using _ = endpoint
    const { stream } = await client.connect(echo.authority)
    endpoint.program.signal('SIGTERM')
    await goaway
    const again = connectTcp({ port: endpoint.port, host: '127.0.0.1' })
    await expect(once(again, 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect(stream.destroyed).toBe(false)
    endpoint.program.signal('SIGINT')
    expect((await endpoint.program.finished).code).toBe(0)
  })

  it('the first signal lets a connection finish that was passed on to another server', async () => {
    const { cert, key } = testCertificate()
    const web = createTlsServer({ cert, key }, (socket) => socket.on('error', () => {}).pipe(socket))
    web.listen(0, '127.0.0.1')
    await once(web, 'listening')
    const { port } = web.address() as AddressInfo
    const pass = `[[culvert.edge.pass]]\nnames = ["www.example.org"]\nto = "127.0.0.1:${port}"\n`
    const { endpoint, goaway } = await start({ tables: LONG.tables + pass })
    await using _ = endpoint
    const passed = connectTls({
      port: endpoint.port,
      servername: 'www.example.org',
      rejectUnauthorized: false,
    })
    await once(passed, 'secureConnect')
    endpoint.program.signal('SIGTERM')
    await goaway
    passed.write('still here')
    expect((await readBytes(passed, 10)).toString()).toBe('still here')
    passed.end()
    expect((await endpoint.program.finished).code).toBe(0)
    web.close()
  })

  it('the first signal ends open tunnels when the grace is over', async () => {
    await using echo = await openEcho()
    const { endpoint, client, closed } = await start(grace(1))
    await using _ = endpoint
    const { stream } = await client.connect(echo.authority)
    stream.resume()
    const happened = new Happened()
    happened.note('half the grace', sleep(500))
    happened.note('the end', closed)
    endpoint.program.signal('SIGTERM')
    expect(await happened.all()).toEqual(['half the grace', 'the end'])
    const { code, stdout } = await endpoint.program.finished
    expect(code).toBe(0)
    // The log has the line of the session before that of the end.
    const lines = stdout.trim().split('\n')
    expect(lines.at(-1)).toContain('"ended"')
    expect(stdout).toMatch(/"user":"premium".*"session ended"/)
    await expect.poll(() => echo.sockets.size).toBe(0)
  })
})

it('a second signal ends at once what is open', async () => {
  await using echo = await openEcho()
  const { endpoint, client, goaway, closed } = await start(LONG)
  await using _ = endpoint
  const { stream } = await client.connect(echo.authority)
  stream.resume()
  endpoint.program.signal('SIGINT')
  await goaway
  endpoint.program.signal('SIGTERM')
  await closed
  expect((await endpoint.program.finished).code).toBe(0)
  await expect.poll(() => echo.sockets.size).toBe(0)
})

it.each([
  ['none', 0],
  ['the longest that a timer can have', 2 ** 31 - 1],
])('a lane has time beyond the grace to end HTTP/3, with a grace of %s', async (_name, graceMs) => {
  const delays: number[] = []
  const clock: Clock = {
    ...systemClock,
    after: (delayMs, run) => {
      delays.push(delayMs)
      return systemClock.after(delayMs, run)
    },
  }
  await using endpoint = await startEndpoint({ clock })
  await endpoint.supervisor.close({ graceMs })
  expect(delays.length).toBeGreaterThan(0)
  // The first is the limit of the whole end. Timers that are set for longer run at once.
  expect(delays[0]).toBeGreaterThan(6000)
  expect(delays[0]).toBeLessThan(2 ** 31)
})

expectNothingLeftOpen()
