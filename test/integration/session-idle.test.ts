/** Everything that ends by itself: sessions without work, half-open handshakes, tunnels without traffic. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import http2 from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OPEN_EDGE, USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { Happened } from '../support/happened.ts'
import { frame, uint32 } from '../support/http2-frames.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { RawHttp2, connectFrame } from '../support/raw-http2.ts'
import { sendPattern, standstill } from '../support/patterned-bytes.ts'
import { readAll, readBytes } from '../support/reading.ts'
import { openEcho, openTcpTarget } from '../support/targets.ts'
import { openTcp, readToClose } from '../support/tls-client.ts'

/** Every limit of these endpoints is one second, the shortest that the files allow. */
const LIMIT_MS = 2000

describe('an idle session', () => {
  let endpoint: TestEndpoint
  beforeAll(async () => {
    endpoint = await startEndpoint({ keys: `client_listener_timeout_secs = ${LIMIT_MS / 1000}` })
  })
  afterAll(async () => {
    await endpoint.waitUntilFree()
    await endpoint[Symbol.asyncDispose]()
  })

  const openClient = () => H2Client.open({ port: endpoint.port, ...USER })

  it('an idle session ends with GOAWAY(NO_ERROR) when no request came', async () => {
    const happened = new Happened()
    happened.note('half the limit', sleep(LIMIT_MS / 2))
    await using client = await openClient()
    const goaway = once(client.session, 'goaway')
    happened.note('GOAWAY', goaway)
    happened.note('the end', once(client.session, 'close'))
    expect((await goaway)[0]).toBe(http2.constants.NGHTTP2_NO_ERROR)
    expect(await happened.all()).toEqual(['half the limit', 'GOAWAY', 'the end'])
    await endpoint.waitForStats((stats) => stats['client_sessions{HTTP2}'] === 0)
  })

  it('an idle session ends when its last request lies back, and each request starts the time anew', async () => {
    await using client = await openClient()
    const closed = once(client.session, 'close')
    for (let request = 0; request < 6; request++) {
      await sleep(LIMIT_MS / 4)
      expect((await client.connect('_check')).status).toBe(200)
    }
    await closed
  })

  it('an idle session stays while a tunnel is open, and ends after it', async () => {
    await using echo = await openEcho()
    await using client = await openClient()
    let gone = false
    client.session.once('goaway', () => (gone = true))
    const closed = once(client.session, 'close')
    const { stream } = await client.connect(echo.authority)
    await sleep(1.5 * LIMIT_MS)
    expect(gone).toBe(false)
    const happened = new Happened()
    happened.note('half the limit', sleep(LIMIT_MS / 2))
    happened.note('the end', closed)
    stream.end('still here')
    expect((await readAll(stream)).toString()).toBe('still here')
    expect(await happened.all()).toEqual(['half the limit', 'the end'])
  })

  it('an idle session stays while an idle _udp2 stream is open', async () => {
    await using client = await openClient()
    let gone = false
    client.session.once('goaway', () => (gone = true))
    const { status } = await client.connect('_udp2')
    expect(status).toBe(200)
    await sleep(1.5 * LIMIT_MS)
    expect(gone).toBe(false)
  })

  it(
    'an idle session is cut off from a client that stays after the GOAWAY',
    { timeout: 40_000 },
    async () => {
      await using raw = await RawHttp2.open(endpoint.port)
      await raw.frame(({ name }) => name === 'GOAWAY')
      await raw.closed()
    },
  )

  it('an idle session over HTTP/1.1 ends too', async () => {
    const socket = connectTls({
      port: endpoint.port,
      host: '127.0.0.1',
      servername: 'vpn.endpoint',
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    })
    await once(socket, 'secureConnect')
    expect((await readToClose(socket)).length).toBe(0)
  })
})

describe('a client that leaves', () => {
  let endpoint: TestEndpoint
  beforeAll(async () => {
    endpoint = await startEndpoint({ tables: OPEN_EDGE })
  })
  afterAll(() => endpoint[Symbol.asyncDispose]())

  // node:http2 waits for the write under way before it lets go of the socket, even if that takes forever.
  it('a client leaves nothing behind when it ends the connection without having read', async () => {
    await using flood = await openTcpTarget((socket) => void sendPattern(socket, 2 ** 30))
    const arrival = flood.nextSocket()
    await using raw = await RawHttp2.open(endpoint.port)
    const wide = frame('SETTINGS', { payload: Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff]) })
    const wider = frame('WINDOW_UPDATE', { payload: uint32(2 ** 30) })
    raw.send(wide, wider, connectFrame(1, flood.authority))
    await raw.frame(({ name }) => name === 'HEADERS')
    raw.socket.pause()
    const socket = await arrival
    await standstill(() => socket.bytesWritten - socket.writableLength)
    raw.socket.end()
    await endpoint.waitUntilFree()
  })

  it('a client leaves nothing behind however its sockets end', async () => {
    await using echo = await openEcho()
    const leave = async (round: number): Promise<void> => {
      const client = await H2Client.open({ port: endpoint.port, ...USER })
      const { stream } = await client.connect(echo.authority)
      stream.write('x')
      if (round % 2 === 0) await readBytes(stream, 1)
      if (round % 3 === 0) client.session.close()
      await client[Symbol.asyncDispose]()
    }
    for (let round = 0; round < 200; round += 10) {
      await Promise.all(Array.from({ length: 10 }, (_, index) => leave(round + index)))
    }
    await endpoint.waitUntilFree()
    await expect.poll(() => echo.sockets.size).toBe(0)
  })
})

describe('a handshake that does not go on', () => {
  let endpoint: TestEndpoint
  beforeAll(async () => {
    endpoint = await startEndpoint({ keys: 'tls_handshake_timeout_secs = 1' })
  })
  afterAll(() => endpoint[Symbol.asyncDispose]())

  /** Sends `bytes`, waits until the endpoint closes the connection, and checks that it kept nothing. */
  async function expectFreed(bytes: Buffer): Promise<void> {
    const before = await endpoint.waitUntilFree()
    const socket = await openTcp({ port: endpoint.port, host: '127.0.0.1' })
    socket.write(bytes)
    await endpoint.waitForStats((stats) => stats['gate_handshakes'] === 1)
    await readToClose(socket)
    const after = await endpoint.waitUntilFree()
    expect(after['gate_handshakes']).toBe(0)
    expect(after['sessions_total{HTTP2}']).toBe(before['sessions_total{HTTP2}'])
  }

  it('a handshake that does not go on is freed when nothing was sent', () => expectFreed(Buffer.alloc(0)))

  it('a handshake that does not go on is freed within the ClientHello', async () => {
    const hello = await clientHello()
    await expectFreed(hello.subarray(0, hello.length / 2))
  })

  it('a handshake that does not go on is freed after the ClientHello', async () =>
    expectFreed(await clientHello()))

  it('a handshake that does not go on holds up nobody else', async () => {
    const hello = await clientHello()
    const sockets = await Promise.all(
      Array.from({ length: 40 }, () => openTcp({ port: endpoint.port, host: '127.0.0.1' })),
    )
    for (const [index, socket] of sockets.entries())
      socket.write(hello.subarray(0, index % 2 ? 9 : undefined))
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await client.connect('_check')).status).toBe(200)
    await Promise.all(sockets.map(readToClose))
  })
})

/** What a TLS client sends first. */
async function clientHello(): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connectTls({ port, host: '127.0.0.1', servername: 'vpn.endpoint', ALPNProtocols: ['h2'] })
  client.on('error', () => {})
  const [socket] = (await once(server, 'connection')) as [Socket]
  const hello = await readBytes(socket, 1)
  socket.destroy()
  server.close()
  return hello
}

describe('a tunnel without a byte', () => {
  let endpoint: TestEndpoint
  beforeAll(async () => {
    endpoint = await startEndpoint({ keys: `tcp_connections_timeout_secs = ${LIMIT_MS / 1000}` })
  })
  afterAll(() => endpoint[Symbol.asyncDispose]())

  it('a tunnel without a byte ends, one with bytes does not, and the session stays', async () => {
    await using echo = await openEcho()
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    const idle = (await client.connect(echo.authority)).stream
    const active = (await client.connect(echo.authority)).stream
    idle.resume()
    const talking = new AbortController()
    const limitLater = once(idle, 'close')
      .then(() => sleep(1.5 * LIMIT_MS))
      .then(() => talking.abort())
    let echoes = 0
    for (; !talking.signal.aborted; echoes++) {
      active.write('x')
      await readBytes(active, 1)
      await sleep(20)
    }
    await limitLater
    expect(idle.rstCode).toBe(http2.constants.NGHTTP2_CANCEL)
    expect(echoes).toBeGreaterThan(2)
    active.end()
    await readAll(active)
    await client[Symbol.asyncDispose]()
    const stats = await endpoint.waitUntilFree()
    expect(stats['tunnels_ended{idle}']).toBe(1)
    expect(echo.sockets.size).toBe(0)
  })
})

expectNothingLeftOpen()
