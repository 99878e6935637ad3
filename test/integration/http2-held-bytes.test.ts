/**
 * What an endpoint holds for clients over HTTP/2 that take nothing, and for targets that take nothing: bounded for a
 * session and for all, with nothing lost below that.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OPEN_EDGE, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { END_HEADERS, END_STREAM, frame, headerBlock, uint32 } from '../support/http2-frames.ts'
import { initialWindow } from '../support/http2-upload.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { sendPattern, standstill } from '../support/patterned-bytes.ts'
import { RawHttp2, connectFrame } from '../support/raw-http2.ts'
import { SilentListener } from '../support/silent-listener.ts'
import { openTcpTarget } from '../support/targets.ts'

const KIB = 1024
const MIB = 1024 * KIB
const LARGE_WINDOW_BYTES = 2 ** 30
/** One read of a target. */
const READ_BYTES = 64 * KIB
const DOWNLINK_STOP_BYTES = 8 * MIB
const UPLINK_BYTES = 32 * MIB
const HELD_UP = 'http2_held_bytes{uplink}'
const HELD_DOWN = 'http2_held_bytes{downlink}'

let endpoint: TestEndpoint
beforeAll(async () => {
  endpoint = await startEndpoint({ tables: OPEN_EDGE })
})
afterAll(() => endpoint[Symbol.asyncDispose]())

const streamIds = (count: number): number[] => Array.from({ length: count }, (_, index) => 3 + 2 * index)
const isHead =
  (stream: number) =>
  (received: { name: string | undefined; stream: number }): boolean =>
    received.name === 'HEADERS' && received.stream === stream

/** Asks for the head of a page. */
function headFrame(stream: number): Buffer {
  const payload = headerBlock([
    [':method', 'HEAD'],
    [':scheme', 'https'],
    [':path', '/'],
    [':authority', 'vpn.endpoint'],
  ])
  return frame('HEADERS', { stream, flags: END_HEADERS | END_STREAM, payload })
}

/** A user's session with a stream 1 that stays. */
async function openUser(): Promise<RawHttp2> {
  const client = await RawHttp2.open(endpoint.port)
  client.send(connectFrame(1, '_udp2'))
  await client.frame(isHead(1))
  return client
}

describe('downloads that the client does not take', () => {
  it('a session without windows holds 8 MiB of 700 downloads, and delivers all of them in the end', async () => {
    const content = 96 * KIB
    await using target = await openTcpTarget((socket) => socket.end(Buffer.alloc(content)))
    await using client = await openUser()
    client.send(initialWindow(0))
    const streams = streamIds(700)
    client.send(...streams.map((stream) => connectFrame(stream, target.authority)))
    await client.several(streams.length + 1, ({ name }) => name === 'HEADERS')
    const stats = await endpoint.waitForStats((now) => (now[HELD_DOWN] ?? 0) > DOWNLINK_STOP_BYTES)
    expect(stats[HELD_DOWN]).toBeLessThanOrEqual(DOWNLINK_STOP_BYTES + READ_BYTES)
    // Nothing more is read.
    for (let times = 0; times < 10; times++) {
      const { [HELD_DOWN]: held } = await endpoint.supervisor.stats()
      expect(held).toBe(stats[HELD_DOWN])
    }

    client.send(initialWindow(MIB), frame('WINDOW_UPDATE', { payload: uint32(LARGE_WINDOW_BYTES) }))
    const isEnd = ({ name, flags }: { name: string | undefined; flags: number }): boolean =>
      name === 'DATA' && (flags & END_STREAM) !== 0
    await client.several(streams.length, isEnd)
    const bytes = client.frames
      .filter(({ name }) => name === 'DATA')
      .reduce((sum, { payload }) => sum + payload.length, 0)
    expect(bytes).toBe(streams.length * content)
    await endpoint.waitForStats((now) => now[HELD_DOWN] === 0)
  })

  it('a client that asks and does not read the answers is cut off', async () => {
    await using flood = await openTcpTarget((socket) => void sendPattern(socket, 256 * MIB))
    await using client = await openUser()
    client.send(initialWindow(LARGE_WINDOW_BYTES))
    client.send(frame('WINDOW_UPDATE', { payload: uint32(LARGE_WINDOW_BYTES) }))
    const arrival = flood.nextSocket()
    client.send(connectFrame(3, flood.authority))
    const socket = await arrival
    client.socket.pause()
    await standstill(() => socket.bytesWritten)
    const name = 'http2_limits_met{unread_answers}'
    for (let first = 5; ; first += 1000) {
      client.send(...Array.from({ length: 500 }, (_, index) => headFrame(first + 2 * index)))
      const stats = await endpoint.supervisor.stats()
      if ((stats[name] ?? 0) > 0) break
    }
    client.reset()
    expect((await endpoint.waitUntilFree())[name]).toBe(1)
  })
})

describe('uploads that targets do not take', () => {
  it('a session holds 32 MiB of uploads, and what goes beyond is reset', async () => {
    await using silent = await SilentListener.open('127.0.0.1')
    await using client = await openUser()
    const streams = streamIds(300)
    for (const stream of streams) {
      client.send(connectFrame(stream, `127.0.0.1:${silent.port}`))
      for (let sent = 0; sent < 128 * KIB; sent += 16 * KIB)
        client.send(frame('DATA', { stream, payload: Buffer.alloc(16 * KIB) }))
    }
    const { payload } = await client.frame(({ name }) => name === 'RST_STREAM')
    expect(payload.readUInt32BE(0)).toBe(11)
    const stats = await endpoint.waitForStats((now) => (now['http2_stuck_uploads'] ?? 0) > 0)
    expect(stats[HELD_UP]).toBeLessThanOrEqual(UPLINK_BYTES)
    await client[Symbol.asyncDispose]()
    await endpoint.waitForStats((now) => now[HELD_UP] === 0)
  })

  it('small pieces of uploads count for the memory that they need', async () => {
    await using silent = await SilentListener.open('127.0.0.1')
    await using client = await openUser()
    const before = (await endpoint.supervisor.stats())['http2_stuck_uploads'] ?? 0
    const piece = (stream: number): Buffer => frame('DATA', { stream, payload: Buffer.alloc(40) })
    for (const stream of streamIds(100)) {
      client.send(connectFrame(stream, `127.0.0.1:${silent.port}`))
      client.send(Buffer.concat(Array.from({ length: 1000 }, () => piece(stream))))
    }
    await client.frame(({ name }) => name === 'RST_STREAM')
    const stats = await endpoint.waitForStats((now) => (now['http2_stuck_uploads'] ?? 0) > before)
    expect(stats[HELD_UP]).toBeLessThanOrEqual(UPLINK_BYTES + KIB)
    await client[Symbol.asyncDispose]()
    await endpoint.waitForStats((now) => now[HELD_UP] === 0)
  })
})

expectNothingLeftOpen()
