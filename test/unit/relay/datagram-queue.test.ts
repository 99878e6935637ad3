/** Whole datagrams, few writes, bounded memory, the newest dropped. */
import { once } from 'node:events'
import { Writable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  BATCH_BYTES,
  DatagramQueue,
  type QueuedDatagram,
  type QueueDropReason,
} from '../../../src/relay/datagram-queue.ts'
import { DatagramRoom } from '../../../src/relay/datagram-room.ts'
import type { UserRoom } from '../../../src/relay/datagram-room.ts'
import { MAX_PIECE_BYTES } from '../../../src/transport/http3/send-window.ts'

/** A datagram of `size` bytes of one value. */
function datagram(size: number, value = 1): QueuedDatagram {
  return { size, writeTo: (target, offset) => void target.fill(value, offset, offset + size) }
}

/** Keeps what is written; while it is stopped, nothing is taken out of its buffer. */
class Sink extends Writable {
  readonly writes: Buffer[] = []
  #resume: (() => void) | undefined
  stopped = false

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.writes.push(chunk)
    if (this.stopped) this.#resume = done
    else done()
  }

  go(): void {
    this.stopped = false
    this.#resume?.()
  }
}

function start(
  limits: { maxBytes?: number; maxDatagrams?: number; room?: UserRoom } = {},
  highWaterMark = 65_536,
) {
  const sink = new Sink({ highWaterMark })
  const drops: QueueDropReason[] = []
  const queue = new DatagramQueue(sink, {
    maxBytes: limits.maxBytes ?? 1_000_000,
    maxDatagrams: limits.maxDatagrams ?? 10_000,
    ...(limits.room && { room: limits.room }),
    onDrop: (reason) => drops.push(reason),
  })
  return { sink, drops, queue }
}

describe('DatagramQueue', () => {
  it('a datagram queue writes the datagrams of one turn together and those of the next apart', async () => {
    const { sink, queue } = start()
    for (const value of [1, 2, 3]) queue.push(datagram(41, value))
    expect(sink.writes).toEqual([])
    await nextTurn()
    expect(sink.writes.map((write) => [...write])).toEqual([
      [...Array<number>(41).fill(1), ...Array<number>(41).fill(2), ...Array<number>(41).fill(3)],
    ])
    queue.push(datagram(5))
    await nextTurn()
    expect(sink.writes.map(({ length }) => length)).toEqual([123, 5])
  })

  it('a datagram queue never splits a datagram over writes, and fills writes as far as whole ones fit', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 40 }),
        async (sizes) => {
          const { sink, queue } = start({ maxBytes: 10_000_000 }, 100_000_000)
          for (const [index, size] of sizes.entries()) queue.push(datagram(size, index + 1))
          await nextTurn()
          const expected: number[][] = []
          for (const [index, size] of sizes.entries()) {
            const last = expected.at(-1)
            const held = last?.reduce((sum, at) => sum + (sizes[at] ?? 0), 0) ?? 0
            if (last === undefined || held + size > BATCH_BYTES) expected.push([index])
            else last.push(index)
          }
          expect(sink.writes.map((write) => [...new Set(write)].map((value) => value - 1))).toEqual(expected)
          expect(Buffer.concat(sink.writes).length).toBe(sizes.reduce((sum, size) => sum + size, 0))
        },
      ),
      { numRuns: 40 },
    )
  })

  it('a datagram queue writes no more at once than one piece of HTTP/3 and one DATA frame of HTTP/2 hold', async () => {
    const { sink, queue } = start()
    // Together 16,384 bytes: HTTP/3 used to send them in two pieces, the second datagram cut in two.
    for (const value of [1, 2]) queue.push(datagram(8192, value))
    await nextTurn()
    expect(sink.writes.map(({ length }) => length)).toEqual([8192, 8192])
    expect(BATCH_BYTES).toBeLessThanOrEqual(Math.min(MAX_PIECE_BYTES, 16_384))
  })

  it('a datagram queue waits for drain and drops the newest beyond its bytes', async () => {
    const { sink, drops, queue } = start({ maxBytes: 100 }, 1)
    sink.stopped = true
    queue.push(datagram(10, 1))
    await nextTurn()
    for (let value = 2; value <= 12; value += 1) queue.push(datagram(10, value))
    await nextTurn()
    expect(sink.writes.length).toBe(1)
    expect([queue.bytes, queue.size]).toEqual([100, 10])
    expect(drops).toEqual(['queue_bytes'])
    const drained = once(sink, 'drain')
    sink.go()
    await drained
    expect(Buffer.concat(sink.writes).length).toBe(110)
    expect(new Set(Buffer.concat(sink.writes)).has(12)).toBe(false)
    expect([queue.bytes, queue.size]).toEqual([0, 0])
  })

  it('a datagram queue drops the newest beyond its count, also empty ones', async () => {
    const { drops, queue } = start({ maxDatagrams: 2 })
    expect([1, 2, 3].map(() => queue.push(datagram(0)))).toEqual([true, true, false])
    expect(drops).toEqual(['queue_datagrams'])
    await nextTurn()
    expect(queue.push(datagram(1))).toBe(true)
  })

  it('a datagram queue keeps order over many writes through a slow output', async () => {
    const { sink, queue } = start({}, 1)
    const values = Array.from({ length: 5000 }, (_, index) => index % 251)
    for (const value of values) queue.push(datagram(100, value))
    while (queue.size > 0) await nextTurn()
    await nextTurn()
    const seen = Buffer.concat(sink.writes)
    expect(values.every((value, index) => seen[index * 100] === value)).toBe(true)
  })

  it('a datagram queue writes what is left when it ends, without waiting', async () => {
    const { sink, queue } = start({}, 1)
    sink.stopped = true
    for (const value of [1, 2]) queue.push(datagram(10_000, value))
    queue.end()
    queue.end()
    sink.go()
    await once(sink, 'finish')
    expect(Buffer.concat(sink.writes).length).toBe(20_000)
    expect(queue.push(datagram(1))).toBe(false)
  })

  it('a datagram queue writes nothing after it is closed, and lets go of the output', async () => {
    const { sink, queue } = start()
    const listeners = sink.listenerCount('drain')
    queue.push(datagram(10))
    queue.close()
    queue.close()
    await nextTurn()
    expect(sink.writes).toEqual([])
    expect(sink.listenerCount('drain')).toBe(listeners - 1)
  })
})

const MIB = 1_048_576

/** As many stopped queues of `user`, full with datagrams of `size` bytes; and how to close them. */
function fill(room: DatagramRoom, user: string, queues: number, size: number) {
  const open = Array.from({ length: queues }, () => start({ maxBytes: MIB, room: room.of(user) }))
  for (const { queue, sink } of open) {
    sink.stopped = true
    while (queue.push(datagram(size))) {
      // Until it is full.
    }
  }
  return { open, bytes: () => open.reduce((sum, { queue }) => sum + queue.bytes, 0) }
}

describe('DatagramRoom', () => {
  it('a thousand queues of a user hold no more than sixteen', () => {
    const room = new DatagramRoom(MIB)
    const many = fill(room, 'greedy', 1000, 8192)
    expect(many.bytes()).toBeLessThanOrEqual(16 * MIB)
    expect(many.bytes()).toBeGreaterThan(14 * MIB)
    expect(many.open.at(-1)?.drops).toEqual(['queue_total'])
  })

  it('small datagrams count for the memory that they need', () => {
    const room = new DatagramRoom(MIB)
    const { open } = fill(room, 'greedy', 100, 1)
    const datagrams = open.reduce((sum, { queue }) => sum + queue.size, 0)
    expect(datagrams).toBeLessThanOrEqual((16 * MIB) / 512)
  })

  it('users who hold all of a lane leave room for another, and closing gives everything back', async () => {
    const room = new DatagramRoom(MIB)
    const greedy = ['a', 'b', 'c', 'd', 'e'].map((user) => fill(room, user, 20, 8192))
    expect(room.bytes).toBeLessThanOrEqual(65 * MIB)
    const other = fill(room, 'other', 2, 8192)
    expect(other.bytes()).toBeGreaterThan(0.9 * MIB)
    for (const { open } of [...greedy, other])
      for (const [index, { queue, sink }] of open.entries()) {
        await nextTurn()
        sink.go()
        if (index % 2 === 0) queue.close()
        else queue.end()
      }
    expect(room.bytes).toBe(0)
  })

  it('what has been written makes room again', async () => {
    const room = new DatagramRoom(MIB)
    const { queue } = start({ room: room.of('user') })
    for (let left = 10; left > 0; left--) queue.push(datagram(100))
    expect(room.bytes).toBeGreaterThan(1000)
    await nextTurn()
    expect(room.bytes).toBe(0)
  })
})
