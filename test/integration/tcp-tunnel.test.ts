/** A CONNECT over HTTP/2 to a TCP target: both directions, half-close, resets, nothing left behind. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll, readBytes } from '../support/reading.ts'
import { openEcho, openRequestResponder, openTcpTarget } from '../support/targets.ts'

let endpoint: TestEndpoint
beforeAll(async () => {
  endpoint = await startEndpoint()
})
afterAll(() => endpoint[Symbol.asyncDispose]())

const openClient = () => H2Client.open({ port: endpoint.port, ...USER })

/** `once` would reject for the code of the reset. */
const closeOf = (stream: Duplex): Promise<void> =>
  new Promise((resolve) => void stream.once('close', resolve))

/** Writes forever, as fast as it may. */
function flood(socket: Socket): void {
  const write = (): void => {
    while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
  }
  socket.on('drain', write)
  write()
}

async function expectNothingLeft(): Promise<void> {
  const stats = await endpoint.waitForStats(
    (now) =>
      now['client_sessions{HTTP2}'] === 0 && now['open_streams'] === 0 && now['outbound_tcp_sockets'] === 0,
  )
  expect(stats['open_streams']).toBe(0)
}

describe('TCP through HTTP/2', () => {
  it('a TCP tunnel through HTTP/2 carries bytes both ways', async () => {
    await using echo = await openEcho()
    await using client = await openClient()
    const { status, flags, stream } = await client.connect(echo.authority)
    expect(status).toBe(200)
    expect(flags & http2.constants.NGHTTP2_FLAG_END_STREAM).toBe(0)
    const sent = randomBytes(3_000_000)
    stream.end(sent)
    expect((await readAll(stream)).equals(sent)).toBe(true)
  })

  it('a TCP tunnel through HTTP/2 reaches a name and an IPv6 literal', async () => {
    await using echo4 = await openEcho()
    await using echo6 = await openEcho('::1')
    await using client = await openClient()
    for (const authority of [`localhost:${echo4.port}`, echo6.authority]) {
      const { status, stream } = await client.connect(authority)
      expect(status).toBe(200)
      stream.end('ping')
      expect((await readAll(stream)).toString()).toBe('ping')
    }
  })

  it('a TCP tunnel through HTTP/2 keeps the downlink open after the client has ended', async () => {
    await using target = await openRequestResponder((request) => Buffer.from(`got ${request.length}`))
    await using client = await openClient()
    const { stream } = await client.connect(target.authority)
    stream.end(Buffer.alloc(100_000))
    expect((await readAll(stream)).toString()).toBe('got 100000')
  })

  it('a TCP tunnel through HTTP/2 keeps the uplink open after the target has ended', async () => {
    const uplink = Promise.withResolvers<Buffer>()
    await using target = await openTcpTarget((socket) => {
      socket.end('bye')
      readAll(socket).then(uplink.resolve, uplink.reject)
    })
    await using client = await openClient()
    const { stream } = await client.connect(target.authority)
    expect((await readAll(stream)).toString()).toBe('bye')
    stream.end(Buffer.alloc(200_000, 7))
    expect((await uplink.promise).length).toBe(200_000)
  })

  it("a TCP tunnel through HTTP/2 turns the target's reset into CONNECT_ERROR", async () => {
    await using target = await openTcpTarget((socket) => {
      socket.once('data', () => socket.resetAndDestroy())
    })
    await using client = await openClient()
    const { stream } = await client.connect(target.authority)
    stream.resume()
    stream.write('hello')
    // Truncated content must not look complete.
    stream.on('end', () => expect.unreachable('END_STREAM before RST_STREAM'))
    await closeOf(stream)
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_CONNECT_ERROR)
  })

  it("a TCP tunnel through HTTP/2 turns the client's reset into RST at the target", async () => {
    await using target = await openTcpTarget(flood)
    await using client = await openClient()
    const arrival = target.nextSocket()
    const { stream } = await client.connect(target.authority)
    const socket = await arrival
    const failed = once(socket, 'error')
    stream.close(http2.constants.NGHTTP2_CANCEL)
    // node:http2 ends its side on the way to the reset, so the target sees a FIN and, as it writes, the RST.
    await expect(failed).resolves.toMatchObject([
      { code: expect.stringMatching(/^(ECONNRESET|EPIPE)$/) as string },
    ])
  })

  it("a TCP tunnel through HTTP/2 reads the client's RST_STREAM(NO_ERROR) as the end", async () => {
    await using target = await openTcpTarget((socket) => socket.resume())
    await using client = await openClient()
    const arrival = target.nextSocket()
    const { stream } = await client.connect(target.authority)
    const socket = await arrival
    const ended = once(socket, 'end')
    stream.close(http2.constants.NGHTTP2_NO_ERROR)
    await ended
  })

  it('a TCP tunnel through HTTP/2 frees everything when the client vanishes in mid-transfer', async () => {
    await using target = await openTcpTarget(flood)
    const client = await openClient()
    const { stream } = await client.connect(target.authority)
    await readBytes(stream, 1_000_000)
    await client[Symbol.asyncDispose]()
    await expectNothingLeft()
    await expect.poll(() => target.sockets.size).toBe(0)
  })

  it('HTTP/2 serves 1,000 TCP tunnels at once and leaves none', async () => {
    await using echo = await openEcho()
    await using client = await openClient()
    const answers = await Promise.all(Array.from({ length: 1000 }, () => client.connect(echo.authority)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    const echoes = answers.map(async ({ stream }, index) => {
      stream.end(`tunnel ${index}`)
      return (await readAll(stream)).toString()
    })
    expect(await Promise.all(echoes)).toEqual(answers.map((_, index) => `tunnel ${index}`))
    await client[Symbol.asyncDispose]()
    await expectNothingLeft()
  })

  it('HTTP/2 leaves nothing after 5,000 TCP tunnels in a row', { timeout: 120_000 }, async () => {
    await using echo = await openEcho()
    const client = await openClient()
    const one = async (): Promise<void> => {
      const { stream } = await client.connect(echo.authority)
      stream.end('x')
      await readAll(stream)
    }
    for (let round = 0; round < 250; round++) await Promise.all(Array.from({ length: 20 }, one))
    await client[Symbol.asyncDispose]()
    await expectNothingLeft()
    expect(echo.sockets.size).toBe(0)
  })
})

expectNothingLeftOpen()
