/**
 * When the credentials of a live session are revoked, its client is told so with 0x1F (specification 9.2, 10.1), and
 * nobody else is ever sent anything that a client would take for that: clients look at the low byte of a code, and give
 * up at 0x1F and 0x64.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { constants } from 'node:http2'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { AUTHORIZED } from '../support/forward-client.ts'
import { H2Client } from '../support/h2-client.ts'
import { H3Client } from '../support/h3-client.ts'
import { frame, uint32 } from '../support/http2-frames.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { RawHttp2, connectFrame } from '../support/raw-http2.ts'
import { SilentListener } from '../support/silent-listener.ts'
import { openTcpTarget } from '../support/targets.ts'

const OTHER_USER = '[[client]]\nusername = "second"\npassword = "old"\n'
const AUTHENTICATION_REQUIRED = 0x1f
const H3_NO_ERROR = 0x100
const PINGS = 20_000
/** More than all buffers between a target and a client hold. */
const FLOOD_BYTES = 64 * 1024 * 1024

function withoutComments(source: string): string {
  return source.replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, '')
}

async function revoke(endpoint: TestEndpoint): Promise<void> {
  await writeFile(join(endpoint.directory, 'credentials.toml'), OTHER_USER)
  await endpoint.supervisor.reload()
}

it('a revoked session over HTTP/2 ends with GOAWAY and 0x1F, and no stream looks complete', async () => {
  await using endpoint = await startEndpoint()
  await using target = await openTcpTarget((socket) => void socket.write('half of it'))
  await using client = await RawHttp2.open(endpoint.port)
  client.send(connectFrame(1, target.authority), connectFrame(3, '_udp2'))
  await client.frame(({ name, stream }) => name === 'DATA' && stream === 1)
  await revoke(endpoint)
  await client.closed()
  const goaways = client.frames.filter(({ name }) => name === 'GOAWAY')
  expect(goaways.map(({ payload }) => payload.readUInt32BE(4))).toEqual([AUTHENTICATION_REQUIRED])
  const endStreams = client.frames.filter(({ name, flags }) => name === 'DATA' && (flags & 1) === 1)
  expect(endStreams).toEqual([])
  const stats = await endpoint.waitUntilFree()
  expect(stats['sessions_revoked']).toBe(1)
})

/** Node's session refuses every call by then, and the reload used to stop at it: half the users stayed. */
it('a session over HTTP/2 that has failed, and whose last write nobody reads, does not stop a reload', async () => {
  await using endpoint = await startEndpoint()
  await using target = await openTcpTarget((socket) => void socket.write(Buffer.alloc(FLOOD_BYTES)))
  await using failed = await RawHttp2.open(endpoint.port)
  await using later = await RawHttp2.open(endpoint.port)
  later.send(connectFrame(1, '_udp2'))
  await later.frame(({ name }) => name === 'HEADERS')
  failed.socket.pause()
  failed.send(frame('WINDOW_UPDATE', { stream: 0, payload: uint32(0x70000000) }))
  failed.send(connectFrame(1, target.authority))
  failed.send(frame('WINDOW_UPDATE', { stream: 1, payload: uint32(0x70000000) }))
  await expect.poll(() => [...target.sockets].some((socket) => socket.writableLength > 0)).toBe(true)
  // More answers than it may owe a client: Node ends the session.
  failed.send(...Array.from({ length: PINGS }, () => frame('PING', { payload: Buffer.alloc(8) })))
  await endpoint.waitForStats((now) => now['open_streams'] === 1)
  await revoke(endpoint)
  await later.closed()
  expect(later.frames.filter(({ name }) => name === 'GOAWAY')).toHaveLength(1)
  // Figures never overtake what was logged before them.
  await endpoint.supervisor.stats()
  expect(endpoint.logs.filter(({ msg }) => msg === 'a session could not be cut off')).toEqual([])
})

it('a revoked session over HTTP/3 ends with a close of 0x1F', async () => {
  await using endpoint = await startEndpoint({ protocols: ['http1', 'http2', 'quic'] })
  await using target = await openTcpTarget((socket) => void socket.write('half of it'))
  await using client = await H3Client.open(endpoint.port)
  const { status, stream } = await client.tunnel(target.authority, AUTHORIZED)
  expect(status).toBe(200)
  let ended = false
  stream.on('end', () => (ended = true)).resume()
  await revoke(endpoint)
  expect((await client.closed).errorCode).toBe(AUTHENTICATION_REQUIRED)
  expect(ended).toBe(false)
  expect((await endpoint.waitUntilFree())['sessions_revoked']).toBe(1)
})

/**
 * A tunnel whose target does not answer: the dial went on for its whole time, with its socket, after the credentials
 * behind it were gone, since a reset of ours looked like an orderly end.
 */
describe('a dial under way ends when its user is revoked', () => {
  const FIRST = '[[client]]\nusername = "first"\npassword = "p"\n'
  const SECOND = '[[client]]\nusername = "second"\npassword = "p"\n'
  const as = (name: string) => ({ 'proxy-authorization': encodeBasicAuth(name, 'p') })
  const options = {
    credentials: `${FIRST}${SECOND}`,
    protocols: ['http1', 'http2', 'quic'],
    keys: 'allow_multiple_credentials_per_connection = true\nconnection_establishment_timeout_secs = 3600',
  } as const
  const opens = {
    'HTTP/2': (port: number) => H2Client.open({ port }),
    'HTTP/3': (port: number) => H3Client.open(port),
  }

  it.each([
    ['CONNECT', 'HTTP/2', 'alone', false],
    ['CONNECT', 'HTTP/2', 'with another user', true],
    ['CONNECT', 'HTTP/3', 'alone', false],
    ['CONNECT', 'HTTP/3', 'with another user', true],
    ['GET', 'HTTP/2', 'alone', false],
    ['GET', 'HTTP/3', 'with another user', true],
  ] as const)(
    'a dial under way ends when its user is revoked: for a %s over %s, %s on the session',
    async (method, version, _, shared) => {
      await using endpoint = await startEndpoint(options)
      await using target = await SilentListener.open('127.0.0.1')
      await using client = await opens[version](endpoint.port)
      const check = (name: string) =>
        'tunnel' in client ? client.tunnel('_check', as(name)) : client.connect('_check', as(name))
      if (shared) expect((await check('first')).status).toBe(200)
      const authority = `127.0.0.1:${target.port}`
      const forwarded = { ':method': 'GET', ':scheme': 'http', ':authority': authority, ':path': '/' }
      if (method === 'GET')
        client.session.request({ ...forwarded, ...as('second') }, { endStream: true }).on('error', () => {})
      else if ('tunnel' in client) client.connect(authority, as('second'))
      else client.request(authority, as('second'))
      await endpoint.waitForStats((stats) => stats['outbound_tcp_sockets'] === 1)
      await writeFile(join(endpoint.directory, 'credentials.toml'), FIRST)
      await endpoint.supervisor.reload()
      const stats = await endpoint.waitForStats((now) => now['outbound_tcp_sockets'] === 0)
      expect(Object.keys(stats).filter((name) => name.startsWith('refused_requests'))).toEqual([])
      if (shared) expect((await check('first')).status).toBe(200)
    },
  )
})

it('a shutdown over HTTP/3 closes with H3_NO_ERROR', async () => {
  await using endpoint = await startEndpoint({ protocols: ['http1', 'http2', 'quic'] })
  await using client = await H3Client.open(endpoint.port)
  expect((await client.tunnel('_check', AUTHORIZED)).status).toBe(200)
  await endpoint.supervisor.close({ graceMs: 0 })
  expect((await client.closed).errorCode).toBe(H3_NO_ERROR)
})

it('a shutdown over HTTP/2 says GOAWAY with NO_ERROR', async () => {
  await using endpoint = await startEndpoint()
  await using client = await RawHttp2.open(endpoint.port)
  client.send(connectFrame(1, '_check'))
  await client.frame(({ name }) => name === 'HEADERS')
  await endpoint.supervisor.close({ graceMs: 0 })
  await client.closed()
  const codes = client.frames
    .filter(({ name }) => name === 'GOAWAY')
    .map(({ payload }) => payload.readUInt32BE(4))
  expect(new Set(codes)).toEqual(new Set([constants.NGHTTP2_NO_ERROR]))
})

/** Codes are written as hexadecimal numbers where a transport has its own, and taken from Node where it has them. */
it('no other code that a transport can send ends in 0x1F or 0x64', () => {
  const root = join(import.meta.dirname, '../../src/transport')
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  )
  const codes = files.flatMap((file) =>
    [
      ...withoutComments(readFileSync(join(root, file), 'utf8')).matchAll(
        /\b0x[0-9a-f]+\b|NGHTTP2_[A-Z_]+/gi,
      ),
    ].map(([text]) => ({
      file,
      text,
      code: text.startsWith('0x') ? Number(text) : (constants as Record<string, unknown>)[text],
    })),
  )
  const taken = codes.filter(({ code }) => typeof code === 'number' && [0x1f, 0x64].includes(code & 0xff))
  expect(codes.length).toBeGreaterThan(10)
  expect(taken.map(({ text }) => text)).toEqual(['0x1f'])
})

expectNothingLeftOpen()
