/**
 * `h3_backward_compatibility`: `GET /` over HTTP/3 reaches the server behind the reverse proxy as CONNECT. Whatever it
 * answers, all that follows its head is the content of the client's answer, and what the client sends goes to it as it
 * arrives.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H3Client, answerOf, resetOf } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readHead } from '../support/raw-origin.ts'
import { readAll } from '../support/reading.ts'
import { settled } from '../support/settled.ts'
import { openTcpTarget } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'

/** H3_INTERNAL_ERROR (RFC 9114 section 8.1). */
const INTERNAL_ERROR = 0x102

let origin: TcpTarget
let endpoint: TestEndpoint
let client: H3Client
/** Gets each connection and the head that arrived on it. */
let onRequest: (socket: Socket, head: string) => void

beforeAll(async () => {
  origin = await openTcpTarget((socket) => void readHead(socket).then((head) => onRequest(socket, head)))
  const certificate = 'cert_chain_path = "cert.pem"\nprivate_key_path = "key.pem"\n'
  endpoint = await startEndpoint({
    protocols: ['http1', 'http2', 'quic'],
    hosts:
      `[[main_hosts]]\nhostname = "vpn.endpoint"\n${certificate}` +
      `[[reverse_proxy_hosts]]\nhostname = "app.endpoint"\n${certificate}`,
    tables:
      `[reverse_proxy]\nserver_address = "${origin.authority}"\npath_mask = "/app"\n` +
      'h3_backward_compatibility = true\n',
  })
  client = await H3Client.open(endpoint.port)
})

afterAll(async () => {
  await client[Symbol.asyncDispose]()
  await settled(() => origin.sockets.size === 0)
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

function get(path: string, endStream = false) {
  const pseudo = { ':method': 'GET', ':scheme': 'https', ':authority': 'app.endpoint', ':path': path }
  return client.request({ ...pseudo, 'x-a': '1' }, { endStream })
}

it('a CONNECT to the origin carries content both ways at once', async () => {
  let seen = ''
  onRequest = (socket, head) => {
    seen = head
    socket.write('HTTP/1.1 200 OK\r\nX-B: 2\r\n\r\nhello ')
    socket.pipe(socket)
  }
  const stream = get('/')
  const { status, headers } = await answerOf(stream)
  expect(status).toBe(200)
  expect(headers).toMatchObject({ 'x-b': '2', server: 'nginx' })
  const content = readAll(stream)
  stream.write('over ')
  stream.end('there')
  expect(String(await content)).toBe('hello over there')
  expect(seen).toMatch(/^CONNECT \/ HTTP\/1\.1\r\n/)
  expect(seen).toMatch(/\r\nhost: app\.endpoint\r\n/i)
  expect(seen).toMatch(/\r\nx-a: 1\r\n/i)
  expect(seen).toMatch(/\r\nx-original-protocol: HTTP3\r\n/i)
  expect(seen).not.toMatch(/content-length|transfer-encoding/i)
})

it('a CONNECT to the origin that is refused hands the refusal on', async () => {
  onRequest = (socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\nnot you')
  const stream = get('/', true)
  const content = readAll(stream)
  expect((await answerOf(stream)).status).toBe(403)
  expect(String(await content)).toBe('not you')
})

it('a CONNECT to the origin that is never answered gets the client a 502', async () => {
  onRequest = (socket) => void socket.destroy()
  const stream = get('/', true)
  const content = readAll(stream)
  expect((await answerOf(stream)).status).toBe(502)
  expect(String(await content)).toContain('502 Bad Gateway')
  await endpoint.waitForStats((stats) => stats['proxy_failures{origin}'] === 1)
})

it('a CONNECT to the origin that is reset in the middle is reset for the client, and logged', async () => {
  // Figures never overtake what was logged before them.
  await endpoint.supervisor.stats()
  endpoint.logs.length = 0
  const opened = Promise.withResolvers<Socket>()
  onRequest = (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\nhalf')
    opened.resolve(socket)
  }
  const stream = get('/')
  const reset = resetOf(stream)
  const [chunk] = (await once(stream, 'data')) as [Buffer]
  expect(String(chunk)).toBe('half')
  const socket = await opened.promise
  socket.resetAndDestroy()
  expect(await reset).toBe(INTERNAL_ERROR)
  const line = await endpoint.waitForLog((entry) => String(entry['msg']).includes('was cut'))
  expect(line).toMatchObject({ reason: 'closed before the end of its response' })
})

it('a CONNECT to the origin ends when the client leaves', async () => {
  const opened = Promise.withResolvers<Socket>()
  onRequest = (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\nhalf')
    opened.resolve(socket)
  }
  const stream = get('/')
  await once(stream, 'data')
  const socket = await opened.promise
  socket.resume()
  stream.close(0x10c)
  await settled(() => socket.closed || socket.readableEnded)
  socket.destroy()
})

it('a CONNECT to the origin is made of GET / alone', async () => {
  onRequest = (socket, head) => {
    const method = /^\w+/.exec(head)?.[0] ?? ''
    socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${method.length}\r\n\r\n${method}`)
  }
  const stream = get('/other', true)
  const content = text(stream)
  expect((await answerOf(stream)).status).toBe(200)
  expect(await content).toBe('GET')
})

expectNothingLeftOpen()
