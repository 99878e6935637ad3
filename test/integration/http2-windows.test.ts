/**
 * What a client over HTTP/2 may have under way: as much as its path takes, within what a session and a lane may hold,
 * and no more than targets take. The way is long here: a relay holds every byte for a while.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RelayRequest } from '../bench/delay-relay.ts'
import { modulePath } from '../bench/module-path.ts'
import { AskedProcess } from '../bench/pinned-process.ts'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { END_HEADERS, frame, headerBlock } from '../support/http2-frames.ts'
import { Http2Upload } from '../support/http2-upload.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { RawHttp2, connectFrame } from '../support/raw-http2.ts'
import { openTcpTarget } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'

const MIB = 1024 * 1024
/** What is announced to strangers, and to users. */
const STRANGER_WINDOW_BYTES = 65_536
const USER_WINDOW_BYTES = 131_072
/** Far above the window that a stream begins with; on this way it becomes 8 MiB at most. */
const GROWN_BYTES = 8 * USER_WINDOW_BYTES
const MAX_SESSION_GROWTH_BYTES = 16 * MIB
const MAX_STREAM_WINDOW_BYTES = 8 * MIB
const DELAY_MS = 50

let endpoint: TestEndpoint
let relay: AskedProcess<RelayRequest>
let farPort: number
/** Reads everything. */
let sink: TcpTarget

beforeAll(async () => {
  endpoint = await startEndpoint({ keys: 'speedtest_enable = true' })
  sink = await openTcpTarget((socket) => void socket.resume())
  relay = new AskedProcess<RelayRequest>(modulePath('delay-relay.ts'), {})
  farPort = await relay.ask<number>({
    do: 'listen',
    address: '127.0.0.1',
    port: endpoint.port,
    delayMs: DELAY_MS,
  })
})
afterAll(async () => {
  await relay[Symbol.asyncDispose]()
  await endpoint[Symbol.asyncDispose]()
  await sink[Symbol.asyncDispose]()
})

async function tunnel(client: RawHttp2, stream: number, authority: string): Promise<void> {
  client.send(connectFrame(stream, authority))
  await client.frame((received) => received.name === 'HEADERS' && received.stream === stream)
}

const upload = (client: RawHttp2, stream: number, mebibytes: number): Http2Upload =>
  new Http2Upload(client, stream, { window: USER_WINDOW_BYTES, totalBytes: mebibytes * MIB })

describe('windows on a long way', () => {
  it('the window of one upload grows far beyond what it began with, and no further than it may', async () => {
    await using client = await RawHttp2.open(farPort)
    await tunnel(client, 1, sink.authority)
    const one = upload(client, 1, 96)
    await one.run()
    expect(one.largestWindow).toBeGreaterThan(GROWN_BYTES)
    expect(one.largestWindow).toBeLessThanOrEqual(MAX_STREAM_WINDOW_BYTES)
  })

  it('uploads of one session share what their windows may grow by, and give it back', async () => {
    await using client = await RawHttp2.open(farPort)
    const streams = [1, 3, 5, 7]
    for (const stream of streams) await tunnel(client, stream, sink.authority)
    const together = streams.map((stream) => upload(client, stream, 48))
    await Promise.all(together.map((one) => one.run()))
    const grown = together.reduce((sum, one) => sum + one.largestWindow - USER_WINDOW_BYTES, 0)
    expect(grown).toBeGreaterThan(GROWN_BYTES)
    expect(grown).toBeLessThanOrEqual(MAX_SESSION_GROWTH_BYTES)

    for (const stream of streams) client.send(frame('RST_STREAM', { stream, payload: Buffer.of(0, 0, 0, 8) }))
    await tunnel(client, 9, sink.authority)
    const later = upload(client, 9, 96)
    await later.run()
    expect(later.largestWindow).toBeGreaterThan(GROWN_BYTES)
  })

  it("a stranger's window never grows", async () => {
    await using client = await RawHttp2.open(farPort)
    const payload = headerBlock([
      [':method', 'POST'],
      [':scheme', 'https'],
      [':path', '/speedtest/upload.html'],
      [':authority', 'vpn.endpoint'],
      ['content-length', String(4 * MIB)],
    ])
    client.send(frame('HEADERS', { stream: 1, flags: END_HEADERS, payload }))
    const one = new Http2Upload(client, 1, { window: STRANGER_WINDOW_BYTES, totalBytes: 4 * MIB })
    await one.run()
    expect(one.sentBytes).toBe(4 * MIB)
    expect(one.largestWindow).toBe(STRANGER_WINDOW_BYTES)
  })

  it('a target that does not read stops the client within its window', async () => {
    await using deaf = await openTcpTarget((socket) => void socket.pause())
    await using client = await RawHttp2.open(endpoint.port)
    await tunnel(client, 1, deaf.authority)
    const one = upload(client, 1, 256)
    const running = one.run().catch(() => {})
    let before = -1
    // What has been sent stands still while the window is used up.
    for (let calm = 0; calm < 10;) {
      await endpoint.supervisor.stats()
      await new Promise((resolve) => setTimeout(resolve, 50))
      calm = one.sentBytes === before ? calm + 1 : 0
      before = one.sentBytes
    }
    expect(one.window).toBe(0)
    const { 'http2_held_bytes{uplink}': held = 0 } = await endpoint.supervisor.stats()
    expect(held).toBeGreaterThan(0)
    expect(held).toBeLessThanOrEqual(MAX_STREAM_WINDOW_BYTES)
    await client[Symbol.asyncDispose]()
    await running
    await endpoint.waitForStats((stats) => stats['http2_held_bytes{uplink}'] === 0)
  })
})

expectNothingLeftOpen()
