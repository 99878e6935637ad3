/**
 * Streams of one HTTP/2 session share what it can send: a small message waits for about one block of others at most,
 * and a datagram is never cut in two.
 */
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LARGE_SLAB_BYTES } from '../../src/transport/slab-pool.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { frame, uint32 } from '../support/http2-frames.ts'
import { initialWindow } from '../support/http2-upload.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { sendPattern, standstill } from '../support/patterned-bytes.ts'
import { RawHttp2, connectFrame } from '../support/raw-http2.ts'
import type { ReceivedFrame } from '../support/raw-http2.ts'
import { readAll } from '../support/reading.ts'
import { openEcho, openTcpTarget, openUdpEcho } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'
import { udpFrame } from '../support/udp-client.ts'

const GIB = 1024 ** 3
const LARGE_WINDOW_BYTES = 2 ** 30
const DEFAULT_WINDOW_BYTES = 65_535
const MESSAGE = 'a small message'
const DOWNLOADS = [3, 5, 7, 9, 11, 13, 15, 17]
const SMALL = 1

let endpoint: TestEndpoint
let echo: TcpTarget
/** Sends without end. */
let flood: TcpTarget
beforeAll(async () => {
  endpoint = await startEndpoint()
  echo = await openEcho()
  flood = await openTcpTarget((socket) => void sendPattern(socket, GIB))
})
afterAll(async () => {
  await endpoint[Symbol.asyncDispose]()
  await echo[Symbol.asyncDispose]()
  await flood[Symbol.asyncDispose]()
})

/** A client that gives every stream a large window; the connection's is the one to begin with. */
async function open(): Promise<RawHttp2> {
  const client = await RawHttp2.open(endpoint.port)
  client.send(initialWindow(LARGE_WINDOW_BYTES))
  return client
}

const credit = (bytes: number): Buffer => frame('WINDOW_UPDATE', { payload: uint32(bytes) })
const isData =
  (stream: number) =>
  (received: ReceivedFrame): boolean =>
    received.name === 'DATA' && received.stream === stream

async function tunnel(client: RawHttp2, stream: number, authority: string): Promise<void> {
  client.send(connectFrame(stream, authority))
  await client.frame((received) => received.name === 'HEADERS' && received.stream === stream)
}

/** Bytes of content of other streams that came after frame number `from` and before the first of `stream`. */
function passedBefore(client: RawHttp2, stream: number, from: number): number {
  const end = client.frames.findIndex((received, index) => index >= from && isData(stream)(received))
  return client.frames
    .slice(from, end)
    .filter(({ name }) => name === 'DATA')
    .reduce((sum, { payload }) => sum + payload.length, 0)
}

const heldBytes = async (): Promise<number> =>
  (await endpoint.supervisor.stats())['http2_held_bytes{downlink}'] ?? 0

/** Another session's request and answer: whatever sockets had to say before has been heard. */
async function expectHeard(): Promise<void> {
  await using other = await H2Client.open({ port: endpoint.port, ...USER })
  for (let times = 0; times < 3; times++) {
    const { stream } = await other.connect(echo.authority)
    stream.end('x')
    await readAll(stream)
  }
}

/** What the kernel holds of one connection on loopback, on its way from `serverPort` to the client. */
async function kernelBytes(serverPort: number, client: Socket): Promise<number> {
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0')
  const [server, own] = [hex(serverPort), hex(client.localPort ?? 0)]
  const rows = (await readFile('/proc/net/tcp', 'utf8')).split('\n').map((row) => row.trim().split(/\s+/))
  const queues = (local: string, remote: string): [number, number] => {
    const row = rows.find(([, from, to]) => from?.endsWith(`:${local}`) && to?.endsWith(`:${remote}`))
    const [sending = '0', received = '0'] = row?.[4]?.split(':') ?? []
    return [Number.parseInt(sending, 16), Number.parseInt(received, 16)]
  }
  return queues(server, own)[0] + queues(own, server)[1]
}

describe('a small message beside eight downloads', () => {
  it('a small message waits for one block at most when the window of the connection was used up', async () => {
    await using client = await open()
    await tunnel(client, SMALL, echo.authority)
    for (const stream of DOWNLOADS) await tunnel(client, stream, flood.authority)
    let held = 0
    // Every download has filled what one read brings.
    for (let calm = 0; calm < 10;) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      const now = await heldBytes()
      calm = now === held && now > 0 ? calm + 1 : 0
      held = now
    }
    client.send(frame('DATA', { stream: SMALL, payload: MESSAGE }))
    await endpoint.waitForStats((stats) => (stats['http2_held_bytes{downlink}'] ?? 0) > held)
    const from = client.frames.length
    client.send(credit(64 * LARGE_SLAB_BYTES))
    expect((await client.frame(isData(SMALL))).payload.toString()).toBe(MESSAGE)
    expect(passedBefore(client, SMALL, from)).toBeLessThanOrEqual(LARGE_SLAB_BYTES)
  })

  it('a small message waits for the kernel and two blocks at most when the client is slow', async () => {
    await using client = await open()
    client.send(credit(LARGE_WINDOW_BYTES))
    await tunnel(client, SMALL, echo.authority)
    for (const stream of DOWNLOADS) await tunnel(client, stream, flood.authority)
    client.socket.pause()
    const targets = [...flood.sockets]
    await standstill(() => targets.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0))
    client.send(frame('DATA', { stream: SMALL, payload: MESSAGE }))
    await expect.poll(() => [...echo.sockets].some(({ bytesWritten }) => bytesWritten > 0)).toBe(true)
    await expectHeard()
    const kernel = await kernelBytes(endpoint.port, client.socket)
    expect(kernel).toBeGreaterThan(0)
    const from = client.frames.length
    client.socket.resume()
    expect((await client.frame(isData(SMALL))).payload.toString()).toBe(MESSAGE)
    // One block was being written, the next one waited; the rest is what the client's own TLS may hold.
    const limit = kernel + 2 * LARGE_SLAB_BYTES + LARGE_SLAB_BYTES / 2
    expect(passedBefore(client, SMALL, from)).toBeLessThanOrEqual(limit)
  })
})

describe('datagrams', () => {
  /** Length and addresses (`src/wire/udp-frame.ts`). */
  const DOWNLINK_HEAD_BYTES = 40

  it('no DATA frame of _udp2 ends within a datagram while downloads run', async () => {
    await using udp = await openUdpEcho()
    const target = { address: '127.0.0.1', port: udp.port }
    await using client = await open()
    client.send(credit(LARGE_WINDOW_BYTES))
    await tunnel(client, SMALL, '_udp2')
    for (const stream of [3, 5]) await tunnel(client, stream, flood.authority)
    const payloads = Array.from({ length: 60 }, (_, index) => Buffer.alloc(1 + 250 * index, 'd'))
    for (const [index, payload] of payloads.entries()) {
      client.send(frame('DATA', { stream: SMALL, payload: udpFrame(target, payload) }))
      await client.several(index + 1, isData(SMALL))
    }
    const lengths = client.frames.filter(isData(SMALL)).map(({ payload }) => payload.length)
    expect(lengths).toEqual(payloads.map(({ length }) => DOWNLINK_HEAD_BYTES + length))
    const others = client.frames.filter(({ name, stream }) => name === 'DATA' && stream !== SMALL)
    expect(others.length).toBeGreaterThan(payloads.length)
  })

  it('a datagram that waits for the window of the connection leaves whole when there is enough', async () => {
    const rest = 500
    await using udp = await openUdpEcho()
    await using some = await openTcpTarget((socket) => socket.end(Buffer.alloc(DEFAULT_WINDOW_BYTES - rest)))
    await using client = await open()
    await tunnel(client, SMALL, '_udp2')
    await tunnel(client, 3, some.authority)
    await client.frame(
      (received) => received.stream === 3 && received.name === 'DATA' && received.flags === 1,
    )
    const datagram = udpFrame({ address: '127.0.0.1', port: udp.port }, Buffer.alloc(1000, 'd'))
    client.send(frame('DATA', { stream: SMALL, payload: datagram }))
    await endpoint.waitForStats((stats) => (stats['http2_held_bytes{downlink}'] ?? 0) > rest)
    client.send(credit(rest))
    client.send(credit(LARGE_WINDOW_BYTES))
    const { payload } = await client.frame(isData(SMALL))
    expect(payload.length).toBe(4 + payload.readUInt32BE(0))
  })
})

expectNothingLeftOpen()
