/**
 * `session_errors` means the same over every version: a protocol error or a lost connection ended the session. What the
 * endpoint itself ended was counted over HTTP/2 and HTTP/3 (revoked credentials, the end of the grace), and over HTTP/1.1
 * nothing ever was.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { duplexPair } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { AUTHORIZED } from '../support/forward-client.ts'
import { H3Client } from '../support/h3-client.ts'
import { frame } from '../support/http2-frames.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { RawHttp2, connectFrame } from '../support/raw-http2.ts'
import { openEcho } from '../support/targets.ts'
import { openTcp, readNext } from '../support/tls-client.ts'

interface Client {
  /** Resolves when the tunnel has been accepted. */
  tunnel(authority: string): Promise<void>
  /** A protocol error. */
  offend(): void
  /** TCP RST; QUIC has none. */
  reset?(): void
  closed(): Promise<unknown>
}

const openHttp1 = async (port: number): Promise<Client> => {
  const raw = await openTcp({ port, host: '127.0.0.1' })
  const socket = connectTls({ socket: raw, servername: 'vpn.endpoint', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const closed = once(socket, 'close')
  socket.on('error', () => {})
  return {
    async tunnel(authority) {
      const credentials = encodeBasicAuth(USER.username, USER.password)
      socket.write(`CONNECT ${authority} HTTP/1.1\r\nhost: x\r\nproxy-authorization: ${credentials}\r\n\r\n`)
      expect((await readNext(socket, 12)).toString()).toBe('HTTP/1.1 200')
    },
    offend: () => void socket.write('GET / HTTP/1.1\r\nno colon\r\n\r\n'),
    reset: () => void raw.resetAndDestroy(),
    closed: () => {
      socket.resume()
      return closed
    },
  }
}

const openHttp2 = async (port: number): Promise<Client> => {
  const client = await RawHttp2.open(port)
  return {
    async tunnel(authority) {
      client.send(connectFrame(1, authority))
      await client.frame(({ name }) => name === 'HEADERS')
    },
    // RFC 9113 section 6.5: SETTINGS belong to no stream.
    offend: () => client.send(frame('SETTINGS', { stream: 1 })),
    reset: () => client.reset(),
    closed: () => client.closed(),
  }
}

const openHttp3 = async (port: number): Promise<Client> => {
  const client = await H3Client.open(port)
  return {
    async tunnel(authority) {
      expect((await client.tunnel(authority, AUTHORIZED)).status).toBe(200)
    },
    // H3_INTERNAL_ERROR.
    offend: () => void client.session.close(0x102, 'offended'),
    closed: () => client.closed,
  }
}

const start = (): Promise<TestEndpoint> => startEndpoint({ protocols: ['http1', 'http2', 'quic'] })

const sessionErrors = (stats: Record<string, number>): (string | number)[][] =>
  Object.entries(stats).filter(([name]) => name.startsWith('session_errors'))

describe.each([
  ['HTTP1', openHttp1],
  ['HTTP2', openHttp2],
  ['HTTP3', openHttp3],
])('over %s', (protocol, open) => {
  it(`over ${protocol} a protocol error counts as an error of the session`, async () => {
    await using endpoint = await start()
    const client = await open(endpoint.port)
    client.offend()
    await client.closed()
    const stats = await endpoint.waitForStats((now) => (now[`session_errors{${protocol}}`] ?? 0) > 0)
    expect(sessionErrors(stats)).toEqual([[`session_errors{${protocol}}`, 1]])
    await endpoint.waitUntilFree()
  })

  // QUIC has no reset: a connection that is lost ends silently, by its idle limit.
  if (protocol !== 'HTTP3') {
    it(`over ${protocol} a lost connection counts as an error of the session`, async () => {
      await using endpoint = await start()
      const client = await open(endpoint.port)
      await client.tunnel('_udp2')
      // Not with TLS on the stack: closing the socket below it from there ends the process.
      await turn()
      client.reset?.()
      await client.closed()
      const stats = await endpoint.waitForStats((now) => (now[`session_errors{${protocol}}`] ?? 0) > 0)
      expect(sessionErrors(stats)).toEqual([[`session_errors{${protocol}}`, 1]])
      await endpoint.waitUntilFree()
    })
  }

  it(`over ${protocol} revoked credentials do not count as an error of the session`, async () => {
    await using endpoint = await start()
    await using echo = await openEcho()
    const client = await open(endpoint.port)
    await client.tunnel(echo.authority)
    await writeFile(
      join(endpoint.directory, 'credentials.toml'),
      '[[client]]\nusername = "b"\npassword = "b"\n',
    )
    await endpoint.supervisor.reload()
    await client.closed()
    const stats = await endpoint.waitUntilFree()
    expect([stats['sessions_revoked'], sessionErrors(stats)]).toEqual([1, []])
  })
})

it('a client that resets with its first request, before TLS has sent its tickets, is lost as well', async () => {
  await using endpoint = await startEndpoint()
  await using echo = await openEcho()
  const raw = await openTcp({ port: endpoint.port, host: '127.0.0.1' })
  const [below, wire] = duplexPair()
  const flights: Buffer[] = []
  wire.on('data', (flight: Buffer) => {
    // The ClientHello goes at once, the end of the handshake with the request.
    if (flights.push(flight) === 1) raw.write(flight)
  })
  raw.on('data', (chunk: Buffer) => wire.write(chunk))
  const socket = connectTls({ socket: below, servername: 'vpn.endpoint', rejectUnauthorized: false })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  const credentials = encodeBasicAuth(USER.username, USER.password)
  socket.write(`CONNECT ${echo.authority} HTTP/1.1\r\nhost: x\r\nproxy-authorization: ${credentials}\r\n\r\n`)
  await turn()
  raw.write(Buffer.concat(flights.slice(1)))
  raw.resetAndDestroy()
  socket.destroy()
  const stats = await endpoint.waitForStats((now) => (now['session_errors{HTTP1}'] ?? 0) > 0)
  expect(stats['requests{address}']).toBe(1)
  await endpoint.waitUntilFree()
})

expectNothingLeftOpen()
