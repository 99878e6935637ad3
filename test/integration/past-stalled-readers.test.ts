/**
 * Gigabytes past a client that has stopped reading for ever: one stream of a session without window beside another, and
 * a whole connection that takes nothing beside another of the same user.
 */
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { USER, startEndpoint } from '../support/endpoint.ts'
import { EndpointProcess } from '../support/endpoint-process.ts'
import { H2Client } from '../support/h2-client.ts'
import { frame, uint32 } from '../support/http2-frames.ts'
import { initialWindow } from '../support/http2-upload.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { patternedBytes, standstill } from '../support/patterned-bytes.ts'
import { RawHttp2, connectFrame } from '../support/raw-http2.ts'
import { openTcpTarget } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'

const KIB = 1024
const MIB = 1024 * KIB
const CHUNK = patternedBytes(0, MIB)
const LARGE_WINDOW_BYTES = 2 ** 30
/** One read of a target, which each stream may hold (docs/limits.md). */
const READ_BYTES = 64 * KIB
/** How much the process may grow: what sessions may hold, and the engine's garbage. */
const GROWTH_LIMIT_MIB = 64
const WHOLE = 1024
const PATIENCE = { timeout: 120_000 }

/** Sends the same MiB again and again. */
function openFlood(): Promise<TcpTarget> {
  return openTcpTarget((socket) => {
    const write = (): void => {
      while (!socket.destroyed && socket.write(CHUNK));
    }
    socket.on('drain', write)
    write()
  })
}

/** Reads so many MiB of the flood, compared byte for byte. */
function readFlood(stream: Readable, mebibytes: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let bytes = 0
  stream.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length;) {
      const offset = bytes % MIB
      const length = Math.min(chunk.length - at, MIB - offset)
      if (CHUNK.compare(chunk, at, at + length, offset, offset + length) !== 0)
        stream.destroy(new Error(`other bytes than were sent, after ${bytes}`))
      at += length
      bytes += length
    }
    if (bytes >= mebibytes * MIB) resolve()
  })
  stream.on('error', reject)
  stream.once('close', () => reject(new Error(`closed after ${bytes} bytes`)))
  return promise
}

interface Stall {
  /** The session that carries the download. */
  readonly client: H2Client
  /** Where the stalled download comes from. */
  readonly socket: Socket
  [Symbol.asyncDispose](): Promise<void>
}

/** A stream that is never read, in the session of the download. */
async function stallStream(port: number, target: TcpTarget): Promise<Stall> {
  const client = await H2Client.open({ port, ...USER })
  const arrival = target.nextSocket()
  await client.connect(target.authority)
  return { client, socket: await arrival, [Symbol.asyncDispose]: () => client[Symbol.asyncDispose]() }
}

/** A connection that is never read, with all the windows that it may have. */
async function stallConnection(port: number, target: TcpTarget): Promise<Stall> {
  const stalled = await RawHttp2.open(port)
  const arrival = target.nextSocket()
  stalled.send(initialWindow(LARGE_WINDOW_BYTES))
  stalled.send(frame('WINDOW_UPDATE', { payload: uint32(LARGE_WINDOW_BYTES) }))
  stalled.send(connectFrame(1, target.authority))
  const socket = await arrival
  stalled.socket.pause()
  const client = await H2Client.open({ port, ...USER })
  return {
    client,
    socket,
    [Symbol.asyncDispose]: async () => {
      stalled.reset()
      await stalled.closed()
      await client[Symbol.asyncDispose]()
    },
  }
}

/** The target has sent what fits between it and the client, and nothing more goes. */
async function expectStill(socket: Socket): Promise<void> {
  const sent = await standstill(() => socket.bytesWritten - socket.writableLength)
  expect(sent).toBeGreaterThan(128 * KIB)
}

describe.each([
  ['a stream that its client never reads, in the same session', stallStream],
  ['a connection that its client never reads, of the same user', stallConnection],
])('1 GiB past %s', (name, stall) => {
  it(`1 GiB goes past ${name}, and the endpoint does not grow`, PATIENCE, async () => {
    await using target = await openFlood()
    await using endpoint = await EndpointProcess.start()
    await using stalled = await stall(endpoint.port, target)
    await expectStill(stalled.socket)
    const { stream } = await stalled.client.connect(target.authority)
    // Code and pools that any first download loads do not count as growth.
    const reading = readFlood(stream, WHOLE)
    await readFlood(stream, 64)
    const before = await endpoint.memory()
    await reading
    expect((await endpoint.memory()).peak - before.now).toBeLessThan(GROWTH_LIMIT_MIB)
    stream.destroy()
  })

  it(`a download past ${name} holds no more than one read for each of both`, async () => {
    await using target = await openFlood()
    await using endpoint = await startEndpoint()
    {
      await using stalled = await stall(endpoint.port, target)
      await expectStill(stalled.socket)
      const held = async (): Promise<number> =>
        (await endpoint.supervisor.stats())['http2_held_bytes{downlink}'] ?? 0
      const { stream } = await stalled.client.connect(target.authority)
      const end = new AbortController()
      const done = readFlood(stream, 128).finally(() => end.abort())
      let most = 0
      while (!end.signal.aborted) most = Math.max(most, await held())
      await done
      expect(most).toBeLessThanOrEqual(2 * READ_BYTES)
      stream.destroy()
    }
    await endpoint.waitForStats((stats) => stats['http2_held_bytes{downlink}'] === 0)
  })
})

expectNothingLeftOpen()
