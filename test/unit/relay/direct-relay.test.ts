/** What the direct relay owes a transport: credit for what the target took, and nothing left behind. */
import { once } from 'node:events'
import net from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StreamReset, TcpEnd } from '../../../src/contract/stream-end.ts'
import type { TargetReader, TunnelReceiver, TunnelStream } from '../../../src/contract/tunnel-stream.ts'
import { IdleMonitor } from '../../../src/relay/idle-monitor.ts'
import { ReadPool } from '../../../src/relay/read-pool.ts'
import { relayStreams } from '../../../src/relay/stream-relay.ts'
import type { RelayOutcome } from '../../../src/relay/relay-rules.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** What a transport would see, and what it may do. */
class ScriptedStream implements TunnelStream {
  readonly showsLoss = true
  unsentBytes = 0
  credited = 0
  written = ''
  hasRoom = true
  readonly events: string[] = []
  receiver!: TunnelReceiver
  onStart = (): void => {}

  start(receiver: TunnelReceiver): void {
    this.receiver = receiver
    this.onStart()
  }

  write(from: Buffer, start: number, end: number): boolean {
    this.written += from.toString('latin1', start, end)
    return this.hasRoom
  }

  end(): void {
    this.events.push('end')
    this.receiver.onFlushed()
  }

  credit(bytes: number): void {
    this.credited += bytes
  }

  reset(reason: StreamReset): void {
    this.events.push(`reset ${reason}`)
  }
}

const pool = new ReadPool()
const EVENTS = ['connect', 'data', 'drain', 'end', 'error', 'finish', 'close']
let server: net.Server
let clock: FakeClock
let monitor: IdleMonitor

beforeEach(async () => {
  clock = new FakeClock()
  monitor = new IdleMonitor(clock)
  server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterEach(async () => {
  expect(monitor.size).toBe(0)
  expect(clock.pending).toBe(0)
  server.close()
  await once(server, 'close')
})

async function openTarget(): Promise<{ end: TcpEnd; far: Socket }> {
  const { port } = server.address() as AddressInfo
  const arrival = once(server, 'connection') as Promise<[Socket]>
  const near = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, onread: pool.onread })
  const [far] = await arrival
  if (near.connecting) await once(near, 'connect')
  for (const socket of [near, far]) socket.on('error', () => {})
  return { end: pool.endOf(near), far }
}

/** A signal must not be asked for: making one costs more than the rest of a relay. */
function startRelay(stream: ScriptedStream, target: TcpEnd): Promise<RelayOutcome> {
  return relayStreams({ io: noDuplex(), direct: stream, reset: () => {} }, target, {
    idleTimeoutMs: 60_000,
    idleMonitor: monitor,
    get signal(): AbortSignal {
      throw new Error('asked for a signal')
    },
  })
}

function noDuplex(): Socket {
  return new Proxy(new net.Socket(), {
    get: (_socket, name) => {
      throw new Error(`used the Duplex: ${String(name)}`)
    },
  })
}

function countListeners(socket: Socket): number[] {
  return EVENTS.map((event) => socket.listenerCount(event))
}

describe('credit', () => {
  it('a client is credited what the socket took, all of it, and never before', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(sizes, fc.array(fc.boolean()), async (chunks, pauses) => {
        const { end, far } = await openTarget()
        const stream = new ScriptedStream()
        const outcome = startRelay(stream, end)
        let sent = 0
        for (const [index, size] of chunks.entries()) {
          stream.receiver.onData(Buffer.alloc(size, index))
          sent += size
          expect(stream.credited).toBeLessThanOrEqual(sent - end.io.writableLength)
          if (pauses[index] === true) await turn()
        }
        let received = 0
        far.on('data', (chunk: Buffer) => (received += chunk.length))
        stream.receiver.onEnd()
        await once(far, 'end')
        far.end()
        expect((await outcome).uplinkBytes).toBe(sent)
        expect([received, stream.credited]).toEqual([sent, sent])
      }),
      { numRuns: 30 },
    )
  })

  it('a client is not credited what waits for a target that does not read', async () => {
    const { end, far } = await openTarget()
    const stream = new ScriptedStream()
    const outcome = startRelay(stream, end)
    far.pause()
    const chunk = Buffer.alloc(16_384)
    let sent = 0
    // A client that keeps to its window of 1 MiB.
    for (let still = 0; still < 100; still += 1) {
      while (sent - stream.credited < 1_048_576) {
        stream.receiver.onData(chunk)
        sent += chunk.length
        still = 0
      }
      await turn()
    }
    const held = stream.credited
    expect(end.io.writableLength).toBeGreaterThan(900_000)
    far.resume()
    while (stream.credited < sent) await turn()
    expect(held).toBeLessThan(sent)
    stream.receiver.onLost('reset')
    expect((await outcome).reason).toBe('client_reset')
    if (!far.closed) await new Promise((resolve) => far.once('close', resolve))
  })

  it('a client is not credited the little that waits for a target, and is when the target has taken it', async () => {
    const { end, far } = await openTarget()
    const stream = new ScriptedStream()
    const outcome = startRelay(stream, end)
    far.pause()
    let sent = 0
    for (; end.io.writableLength === 0; sent += 4096) {
      stream.receiver.onData(Buffer.alloc(4096))
      await turn()
    }
    // Its mark has not been reached, so it will not tell.
    expect(end.io.writableNeedDrain).toBe(false)
    expect(stream.credited).toBeLessThan(sent)
    far.resume()
    while (stream.credited < sent) await turn()
    stream.receiver.onLost('reset')
    await outcome
    if (!far.closed) await new Promise((resolve) => far.once('close', resolve))
  })

  it('a client that has ended is credited for all that its target took, which may go on sending', async () => {
    const { end, far } = await openTarget()
    const stream = new ScriptedStream()
    const outcome = startRelay(stream, end)
    const bytes = 8 * 1024 * 1024
    for (let sent = 0; sent < bytes; sent += 16_384) stream.receiver.onData(Buffer.alloc(16_384))
    stream.receiver.onEnd()
    expect(stream.credited).toBeLessThan(bytes)
    far.resume()
    await once(far, 'end')
    while (stream.credited < bytes) await turn()
    far.end('done')
    expect(await outcome).toEqual({ reason: 'ended', uplinkBytes: bytes, downlinkBytes: 4 })
  })

  it('a client that left is credited on, and for what its target will never take', async () => {
    const { end, far } = await openTarget()
    const stream = new ScriptedStream()
    const outcome = startRelay(stream, end)
    far.pause()
    const bytes = 8 * 1024 * 1024
    for (let sent = 0; sent < bytes; sent += 16_384) stream.receiver.onData(Buffer.alloc(16_384))
    stream.receiver.onEnd()
    stream.receiver.onLost('left')
    await turn()
    expect(stream.credited).toBeLessThan(bytes)
    far.resetAndDestroy()
    expect((await outcome).reason).toBe('ended')
    expect(stream.credited).toBe(bytes)
    expect(stream.events).toEqual([])
  })
})

describe('memory', () => {
  it('small pieces that wait for a target do not keep what they were cut from', async () => {
    const { end, far } = await openTarget()
    const stream = new ScriptedStream()
    const outcome = startRelay(stream, end)
    far.pause()
    const fill = Buffer.alloc(65_536)
    while (end.io.writableLength === 0) {
      stream.receiver.onData(fill)
      await turn()
    }
    for (let left = 1000; left > 0; left -= 1) stream.receiver.onData(Buffer.alloc(16_384).subarray(7, 107))
    const waiting = Reflect.get(end.io, 'writableBuffer') as { chunk: Buffer }[]
    expect(waiting.length).toBeGreaterThanOrEqual(1000)
    const blocks = new Set(waiting.map(({ chunk }) => chunk.buffer).filter((each) => each !== fill.buffer))
    const held = [...blocks].reduce((sum, block) => sum + block.byteLength, 0)
    expect(held).toBeLessThan(300_000)
    stream.receiver.onLost('cancelled')
    await outcome
    far.destroy()
  })
})

describe('the end', () => {
  it('the end of a relay leaves no listener on the socket, and the socket closes', async () => {
    const { end, far } = await openTarget()
    const before = countListeners(end.io)
    const stream = new ScriptedStream()
    const outcome = startRelay(stream, end)
    stream.receiver.onData(Buffer.from('question'))
    stream.receiver.onEnd()
    far.end('answer')
    far.resume()
    expect(await outcome).toEqual({ reason: 'ended', uplinkBytes: 8, downlinkBytes: 6 })
    expect(stream.written).toBe('answer')
    expect(stream.events).toEqual(['end'])
    expect(countListeners(end.io)).toEqual(before)
    if (!end.io.closed) await once(end.io, 'close')
  })

  it('the end may come while the relay starts', async () => {
    for (const how of ['cancelled', 'reset', 'left'] as const) {
      const { end, far } = await openTarget()
      // What the relay would pass on if it went on.
      far.end()
      while (!end.io.readableEnded) await turn()
      const before = countListeners(end.io)
      const stream = new ScriptedStream()
      stream.onStart = () => stream.receiver.onLost(how)
      const reason = how === 'cancelled' ? 'aborted' : 'client_reset'
      expect((await startRelay(stream, end)).reason).toBe(reason)
      expect(stream.events).toEqual(['reset cancel'])
      expect(countListeners(end.io)).toEqual(before)
      if (!far.closed) await new Promise((resolve) => far.once('close', resolve))
    }
  })

  it('a target may have ended before the relay starts', async () => {
    const { end, far } = await openTarget()
    far.end()
    while (!end.io.readableEnded) await turn()
    const stream = new ScriptedStream()
    const outcome = startRelay(stream, end)
    expect(stream.events).toEqual(['end'])
    stream.receiver.onEnd()
    far.resume()
    expect((await outcome).reason).toBe('ended')
  })

  it('all that a client sent and its leaving may come while the relay starts', async () => {
    const { end, far } = await openTarget()
    far.write('unwanted')
    while (end.io.readableLength < 8) await turn()
    const stream = new ScriptedStream()
    stream.onStart = () => {
      stream.receiver.onData(Buffer.from('bye'))
      stream.receiver.onEnd()
      stream.receiver.onLost('left')
    }
    const outcome = startRelay(stream, end)
    expect(String((await once(far, 'data'))[0])).toBe('bye')
    far.end()
    expect(await outcome).toEqual({ reason: 'ended', uplinkBytes: 3, downlinkBytes: 0 })
    expect([stream.written, stream.events]).toEqual(['', []])
  })

  it('nothing is written to a stream after its reset', async () => {
    const { end, far } = await openTarget()
    const readers: TargetReader[] = []
    const watched: TcpEnd = {
      io: end.io,
      reset: (reason) => end.reset(reason),
      readWith: (reader) => void readers.push(reader),
    }
    const stream = new ScriptedStream()
    const outcome = startRelay(stream, watched)
    clock.advance(120_000)
    expect((await outcome).reason).toBe('idle')
    // A socket whose FIN is under way is reset only after it.
    expect(readers[0]?.onTargetData(Buffer.from('late'), 4)).toBe(true)
    expect([stream.written, stream.events]).toEqual(['', ['reset cancel']])
    if (!end.io.closed) await once(end.io, 'close')
    far.destroy()
  })
})

describe('the target', () => {
  it('a target waits for a client without room, and only then', async () => {
    const { end, far } = await openTarget()
    const stream = new ScriptedStream()
    const outcome = startRelay(stream, end)
    stream.hasRoom = false
    far.write('first')
    while (stream.written === '') await turn()
    far.write(' second')
    for (let left = 50; left > 0; left -= 1) await turn()
    expect(stream.written).toBe('first')
    stream.hasRoom = true
    stream.receiver.onRoom()
    while (stream.written !== 'first second') await turn()
    stream.receiver.onEnd()
    far.end()
    far.resume()
    expect((await outcome).reason).toBe('ended')
  })

  it('a target that waited for a client which then left is heard to its end', async () => {
    const { end, far } = await openTarget()
    const stream = new ScriptedStream()
    const outcome = startRelay(stream, end)
    stream.hasRoom = false
    far.write('taken')
    while (stream.written === '') await turn()
    stream.receiver.onEnd()
    stream.receiver.onLost('left')
    far.end(' discarded')
    far.resume()
    expect(await outcome).toEqual({ reason: 'ended', uplinkBytes: 0, downlinkBytes: 5 })
    expect(stream.written).toBe('taken')
  })

  it('writes of one turn leave together, for all targets', async () => {
    const pairs = [await openTarget(), await openTarget()]
    const streams = pairs.map(() => new ScriptedStream())
    const outcomes = pairs.map(({ end }, index) => startRelay(streams[index]!, end))
    for (const stream of streams)
      for (const word of ['a', 'b', 'c']) stream.receiver.onData(Buffer.from(word))
    for (const { end } of pairs) expect([end.io.writableCorked, end.io.bytesWritten]).toEqual([1, 3])
    const received = await Promise.all(pairs.map(({ far }) => once(far, 'data')))
    expect(received.map(([chunk]) => String(chunk))).toEqual(['abc', 'abc'])
    for (const stream of streams) stream.receiver.onLost('cancelled')
    await Promise.all(outcomes)
    for (const { far } of pairs) far.destroy()
  })
})
