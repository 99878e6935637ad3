/** WebSocket (any `Upgrade`) through the reverse proxy over HTTP/1.1. */
import { once } from 'node:events'
import http from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect as connectTcp, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { cleanups, endStages, openProxyStage } from '../support/proxy-stage.ts'
import { settled } from '../support/settled.ts'
import { askHttp2 } from '../support/web-client.ts'

const PAYLOAD_BYTES = 3 * 1_048_576

afterEach(endStages)

/** Answers 101 and echoes whatever follows. */
function echoUpgrade(head = ''): http.Server {
  const server = http.createServer((_request, response) => {
    response.writeHead(426)
    response.end('upgrade only')
  })
  server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
    const protocol = request.headers['sec-websocket-protocol'] ?? ''
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Accept: abc\r\nSec-WebSocket-Protocol: ${protocol}\r\nServer: origin\r\n\r\n${head}`,
    )
    socket.pipe(socket)
  })
  return server
}

async function openClient(port: number): Promise<Socket> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  cleanups.push(() => void socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

/** Everything until `last`. */
async function receive(socket: Socket, last: string): Promise<string> {
  let received = ''
  socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')))
  await settled(() => received.endsWith(last))
  return received
}

describe('WebSocket over HTTP/1.1', () => {
  const HANDSHAKE =
    'GET /chat HTTP/1.1\r\nHost: ws.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n'

  it('a WebSocket through the reverse proxy echoes both ways and ends with the client', async () => {
    const { web, proxy, originSockets } = await openProxyStage(echoUpgrade('first'))
    const socket = await openClient(web.http1Port)
    socket.write(HANDSHAKE)
    let received = ''
    socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')))
    await settled(() => received.endsWith('first'))
    const head = received.slice(0, received.indexOf('\r\n\r\n')).toLowerCase().split('\r\n')
    expect(head[0]).toBe('http/1.1 101 switching protocols')
    expect(head).toEqual(
      expect.arrayContaining([
        'connection: upgrade',
        'upgrade: websocket',
        'sec-websocket-accept: abc',
        'sec-websocket-protocol: chat',
        'server: nginx',
      ]),
    )
    received = ''
    const payload = 'x'.repeat(PAYLOAD_BYTES)
    socket.write(payload)
    await settled(() => received.length === payload.length)
    socket.end()
    await once(socket, 'close')
    await settled(() => proxy.exchanges === 0 && originSockets.size === 0)
  })

  it('a WebSocket through the reverse proxy delivers what the origin said before it closed', async () => {
    const server = http.createServer()
    server.on('upgrade', (_request, socket: Socket) => {
      socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nbye')
    })
    const { web, proxy } = await openProxyStage(server)
    const socket = await openClient(web.http1Port)
    socket.write(HANDSHAKE)
    const received = (await buffer(socket)).toString()
    expect(received.endsWith('\r\n\r\nbye')).toBe(true)
    socket.end()
    await settled(() => proxy.exchanges === 0)
  })

  it('the reverse proxy passes a refusal of an upgrade on', async () => {
    const { web } = await openProxyStage((_request, response) => {
      response.writeHead(403, { 'content-length': '2' })
      response.end('no')
    })
    const socket = await openClient(web.http1Port)
    socket.write(HANDSHAKE)
    const received = await receive(socket, 'no')
    expect(received).toMatch(/^HTTP\/1\.1 403 /)
    expect(received).toMatch(/^Connection: keep-alive\r$/m)
  })

  const SWITCHING = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n'
  it.each([
    ['to something else', HANDSHAKE, `${SWITCHING}Upgrade: h2c\r\n\r\n`],
    [
      'that nobody asked for',
      'GET /chat HTTP/1.1\r\nHost: x\r\n\r\n',
      `${SWITCHING}Upgrade: websocket\r\n\r\n`,
    ],
  ])('the reverse proxy takes no upgrade %s', async (_, request, answer) => {
    const origin = createServer((target) => target.once('data', () => target.write(answer)))
    const { web, counters, originSockets } = await openProxyStage(origin)
    const socket = await openClient(web.http1Port)
    socket.write(request)
    await once(socket, 'data').then(([head]) => expect(String(head)).toMatch(/^HTTP\/1\.1 502 /))
    expect(counters.snapshot()).toEqual({ 'proxy_failures{upgrade}': 1 })
    await settled(() => originSockets.size === 0)
  })

  it('the reverse proxy passes on an answer to an upgrade that keeps its connection', async () => {
    const origin = createServer((target) =>
      target.once('data', () => target.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain')),
    )
    const { web, proxy, counters } = await openProxyStage(origin)
    const socket = await openClient(web.http1Port)
    socket.write(HANDSHAKE)
    const received = await receive(socket, 'plain')
    expect(received).toMatch(/^HTTP\/1\.1 200 /)
    await settled(() => proxy.exchanges === 0)
    expect(counters.snapshot()).toEqual({})
  })

  it('a WebSocket through the reverse proxy ends for the client when the origin dies', async () => {
    const { web, originSockets } = await openProxyStage(echoUpgrade('hello'))
    const socket = await openClient(web.http1Port)
    socket.on('error', () => {})
    socket.write(HANDSHAKE)
    await once(socket, 'data')
    for (const origin of originSockets) origin.resetAndDestroy()
    await settled(() => socket.closed)
  })

  /** Switches protocols and stays silent, whatever happens. */
  function deafOrigin(): http.Server {
    const server = http.createServer()
    server.on('upgrade', (_request, socket: Socket) => {
      socket.allowHalfOpen = true
      socket.on('error', () => {})
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    })
    return server
  }

  // When an origin did not notice, its connection and the client's used to stay for five minutes.
  it.each([
    ['ends its side', (socket: Socket) => socket.end()],
    ['is gone', (socket: Socket) => socket.destroy()],
  ])('a proxied WebSocket lets go of an origin that stays silent after the client %s', async (_, leave) => {
    const clock = new FakeClock()
    const { web, proxy, originSockets } = await openProxyStage(deafOrigin(), {}, clock)
    const socket = await openClient(web.http1Port)
    socket.on('error', () => {})
    socket.write(HANDSHAKE)
    await once(socket, 'data')
    leave(socket)
    await settled(() => [...originSockets].every((origin) => origin.resume().readableEnded))
    expect(proxy.exchanges).toBe(1)
    clock.advance(7000)
    await settled(() => proxy.exchanges === 0)
    for (const origin of originSockets) origin.destroy()
    await settled(() => web.sessions.size === 0)
  })

  // It ended the process: Node gave the answer of the second request to the socket of the first.
  it('a WebSocket may be asked for behind a request that is still worked on', async () => {
    const slow = Promise.withResolvers<void>()
    const server = echoUpgrade('first')
    server.removeAllListeners('request')
    server.on('request', (_request: IncomingMessage, response: http.ServerResponse) => {
      void slow.promise.then(() => response.end('slow'))
    })
    const { web, proxy } = await openProxyStage(server)
    const socket = await openClient(web.http1Port)
    socket.write(`GET /slow HTTP/1.1\r\nHost: x\r\n\r\n${HANDSHAKE}frame`)
    await settled(() => proxy.exchanges === 1)
    slow.resolve()
    const received = await receive(socket, 'firstframe')
    expect(received).toMatch(/^HTTP\/1\.1 200 [^]*slow\r?\n?[^]*HTTP\/1\.1 101 /)
    socket.end()
    await settled(() => proxy.exchanges === 0)
  })

  // Such requests were never answered, and a reset behind one ended the process.
  it.each(['content', 'a reset'])(
    'an upgrade that announces content is a plain request: %s',
    async (what) => {
      const { web, proxy } = await openProxyStage(echoUpgrade())
      const raw = connectTcp(web.http1Port, '127.0.0.1')
      const socket = connectTls({ socket: raw, rejectUnauthorized: false })
      cleanups.push(() => void socket.destroy())
      socket.on('error', () => {})
      raw.on('error', () => {})
      await once(socket, 'secureConnect')
      socket.write(HANDSHAKE.replace('Upgrade: web', 'Content-Length: 4\r\nUpgrade: web'))
      await settled(() => proxy.exchanges === 1)
      if (what === 'content') {
        socket.write('ping')
        expect(await receive(socket, '0\r\n\r\n')).toMatch(/upgrade only/)
      } else raw.resetAndDestroy()
      await settled(() => proxy.exchanges === 0)
    },
  )

  it('the reverse proxy does not offer an upgrade over HTTP/2', async () => {
    const { web } = await openProxyStage(echoUpgrade())
    const answer = await askHttp2(web.http2Port, { path: '/chat' })
    expect(answer.status).toBe(426)
  })
})

expectNothingLeftOpen()
