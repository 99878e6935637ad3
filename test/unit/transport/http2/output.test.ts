import * as fc from 'fast-check'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Output, RECORD_PAYLOAD_BYTES, TURN_BYTES } from '../../../../src/transport/http2/output.ts'
import { LARGE_SLAB_BYTES, SMALL_SLAB_BYTES } from '../../../../src/transport/slab-pool.ts'
import { frame } from '../../../support/http2-frames.ts'
import { CountingPool } from './counting-pool.ts'
import { ManualSocket } from './manual-socket.ts'
import { framesOf, summaryOf } from './sent-frames.ts'

class Stage {
  readonly socket = new ManualSocket()
  readonly pool = new CountingPool()
  overflows = 0
  readonly output = new Output(this.socket, this.pool, RECORD_PAYLOAD_BYTES, {
    onOverflow: () => void this.overflows++,
  })

  constructor() {
    this.output.mayUseLargeBlocks = true
  }

  urgent(bytes: Buffer): void {
    this.output.urgent(bytes.length, (into, at) => void bytes.copy(into, at))
  }

  inOrder(bytes: Buffer): void {
    this.output.inOrder(bytes.length, (into, at) => void bytes.copy(into, at))
  }

  last(bytes: Buffer): void {
    this.output.last(bytes.length, (into, at) => void bytes.copy(into, at))
  }

  data(stream: number, bytes: number, fill = stream): void {
    // The caller's buffer is the caller's again.
    const from = Buffer.alloc(bytes + 2, fill)
    this.output.data(stream, from, 1, bytes + 1)
    from.fill(0xcc)
  }

  /** Everything leaves. */
  drain(): void {
    this.output.flush()
    while (this.socket.isWriting) {
      this.socket.confirm()
      this.output.flush()
    }
  }

  get summary(): string[] {
    return summaryOf(this.socket.bytes)
  }
}

const PING = frame('PING', { payload: '12345678' })
const RESET = frame('RST_STREAM', { stream: 9, payload: '\0\0\0\x08' })
const ACK = frame('SETTINGS', { flags: 1 })

describe('Output, in order', () => {
  it('what is put in during one turn leaves in one write, at its end', async () => {
    const { output, socket } = new Stage()
    output.data(1, Buffer.from('abc'), 0, 3)
    output.data(3, Buffer.from('de'), 0, 2)
    expect(socket.writes).toEqual([])
    await turn()
    expect(summaryOf(socket.bytes)).toEqual(['DATA 1 x3', 'DATA 3 x2'])
    expect(socket.writes).toHaveLength(1)
  })

  it('urgent frames go before all DATA that waits, in their own order', () => {
    const stage = new Stage()
    stage.data(1, 5)
    stage.inOrder(RESET)
    stage.urgent(PING)
    stage.urgent(ACK)
    stage.drain()
    expect(stage.summary).toEqual(['PING 0', 'SETTINGS 0', 'DATA 1 x5', 'RST_STREAM 9'])
    expect(stage.socket.writes).toHaveLength(1)
  })

  it('urgent frames that are longer than their room in a block leave before it in a write of their own', () => {
    const stage = new Stage()
    stage.data(1, 5)
    for (let count = 0; count < 40; count++) stage.urgent(PING)
    stage.drain()
    expect(stage.summary).toEqual([...Array.from({ length: 40 }, () => 'PING 0'), 'DATA 1 x5'])
    expect(stage.socket.writes.map((bytes) => framesOf(bytes).length)).toEqual([40, 1])
  })

  it('urgent frames that just fill their room in a block leave with it', () => {
    const stage = new Stage()
    stage.data(1, 5)
    for (let count = 0; count < 30; count++) stage.urgent(PING)
    stage.drain()
    expect(stage.socket.writes).toHaveLength(1)
    expect(stage.summary).toHaveLength(31)
  })

  it('last frames come after all DATA that waits', () => {
    const stage = new Stage()
    stage.data(1, 5)
    stage.last(ACK)
    stage.data(1, 6)
    stage.drain()
    expect(stage.summary).toEqual(['DATA 1 x5', 'SETTINGS 0', 'DATA 1 x6'])
  })

  it('last frames are urgent when no DATA waits', () => {
    const stage = new Stage()
    stage.last(ACK)
    stage.data(1, 5)
    stage.drain()
    expect(stage.summary).toEqual(['SETTINGS 0', 'DATA 1 x5'])
  })

  it('while a write is under way nothing else is written', () => {
    const stage = new Stage()
    stage.data(1, 5)
    stage.output.flush()
    stage.data(1, 6)
    stage.urgent(PING)
    stage.output.flush()
    expect(stage.summary).toEqual(['DATA 1 x5'])
    stage.socket.confirm()
    expect(stage.summary).toEqual(['DATA 1 x5', 'PING 0', 'DATA 1 x6'])
  })

  it('DATA is cut into frames of the given size', () => {
    const stage = new Stage()
    stage.output.frameBytes = 8192
    stage.data(1, 8192 * 2 + 1)
    stage.output.data(3, Buffer.alloc(8193), 0, 8193, 16_384)
    stage.drain()
    expect(stage.summary).toEqual(['DATA 1 x8192', 'DATA 1 x8192', 'DATA 1 x1', 'DATA 3 x8193'])
  })

  it('a frame is never split over two blocks', () => {
    const stage = new Stage()
    for (let count = 0; count < 40; count++) stage.data(1, 3000 + count)
    stage.drain()
    expect(stage.socket.writes.length).toBeGreaterThan(3)
    for (const bytes of stage.socket.writes) expect(() => framesOf(bytes)).not.toThrow()
    expect(stage.summary).toEqual(Array.from({ length: 40 }, (_, count) => `DATA 1 x${3000 + count}`))
  })
})

describe('Output, END_STREAM', () => {
  it('END_STREAM is put on the last DATA frame while that is here', () => {
    const stage = new Stage()
    stage.data(1, 5)
    stage.data(1, 6)
    stage.output.endStream(1)
    stage.drain()
    expect(stage.summary).toEqual(['DATA 1 x5', 'DATA 1 x6 end'])
  })

  it('END_STREAM is a frame of its own when the last DATA is of another stream', () => {
    const stage = new Stage()
    stage.data(1, 5)
    stage.data(3, 6)
    stage.output.endStream(1)
    stage.drain()
    expect(stage.summary).toEqual(['DATA 1 x5', 'DATA 3 x6', 'DATA 1 x0 end'])
  })

  it('END_STREAM is a frame of its own when the last DATA has left', () => {
    const stage = new Stage()
    stage.data(1, 5)
    stage.drain()
    stage.output.endStream(1)
    stage.drain()
    expect(stage.summary).toEqual(['DATA 1 x5', 'DATA 1 x0 end'])
  })

  it('END_STREAM is a frame of its own when the last DATA is in a block that is full', () => {
    const stage = new Stage()
    stage.data(1, 16_000)
    stage.data(1, 16_000)
    stage.inOrder(frame('PUSH_PROMISE', { payload: Buffer.alloc(5000) }))
    stage.output.endStream(1)
    stage.drain()
    expect(stage.summary).toEqual(['DATA 1 x16000', 'DATA 1 x16000', 'PUSH_PROMISE 0', 'DATA 1 x0 end'])
  })

  it('END_STREAM is put on one frame only', () => {
    const stage = new Stage()
    stage.data(1, 5)
    stage.output.endStream(1)
    stage.output.endStream(3)
    stage.output.endStream(1)
    stage.drain()
    expect(stage.summary).toEqual(['DATA 1 x5 end', 'DATA 3 x0 end', 'DATA 1 x0 end'])
  })

  it('END_STREAM is not put on DATA of the stream that had the id of a block before', () => {
    const stage = new Stage()
    stage.data(1, 5)
    stage.drain()
    stage.data(3, 5)
    stage.output.endStream(1)
    stage.drain()
    expect(stage.summary).toEqual(['DATA 1 x5', 'DATA 3 x5', 'DATA 1 x0 end'])
  })
})

/** Writes as much as it is let, a piece at a time, and notes its turns. */
class Source {
  readonly #stage: Stage
  readonly #turns: number[]
  readonly id: number
  pieces: number

  constructor(stage: Stage, turns: number[], id: number, pieces: number) {
    this.#stage = stage
    this.#turns = turns
    this.id = id
    this.pieces = pieces
  }

  onRoom(): void {
    this.#turns.push(this.id)
    this.send()
  }

  send(): void {
    if (this.pieces === 0) return
    this.pieces--
    this.#stage.data(this.id, RECORD_PAYLOAD_BYTES)
    this.#stage.output.wait(this)
  }
}

describe('Output, room', () => {
  it('streams that wait go on in the order in which they stopped, one turn each', () => {
    const stage = new Stage()
    const turns: number[] = []
    const sources = Array.from({ length: 10 }, (_, index) => new Source(stage, turns, 2 * index + 1, 5))
    for (const source of sources) source.send()
    stage.drain()
    const round = sources.map(({ id }) => id)
    expect(turns.slice(0, 40)).toEqual([...round, ...round, ...round, ...round])
    expect(sources.every(({ pieces }) => pieces === 0)).toBe(true)
  })

  // Four of them were told after the last write, and as they sent nothing, no write followed that would have told the
  // others: downloads stood still until something else was sent on their session.
  it('every stream that waits is told to go on, although those before it have nothing more to send', async () => {
    const stage = new Stage()
    const told: number[] = []
    stage.data(1, 20_000)
    expect(stage.output.isFull).toBe(true)
    for (let id = 0; id < 50; id++) stage.output.wait({ onRoom: () => void told.push(id) })
    stage.drain()
    for (let turns = 0; turns < 60; turns++) await turn()
    expect(told).toEqual(Array.from({ length: 50 }, (_, id) => id))
  })

  it('a stream that waits again while others are told comes behind them', async () => {
    const stage = new Stage()
    const told: string[] = []
    stage.data(1, 20_000)
    const again = { onRoom: () => void told.push('again') }
    stage.output.wait({
      onRoom: () => {
        told.push('first')
        stage.data(1, 10)
        stage.output.wait(again)
      },
    })
    stage.output.wait({ onRoom: () => void told.push('second') })
    stage.drain()
    await turn()
    stage.drain()
    expect(told).toEqual(['first', 'second', 'again'])
  })

  it('streams in their turns leave room for small writes of others', () => {
    const stage = new Stage()
    stage.data(1, RECORD_PAYLOAD_BYTES)
    stage.drain()
    while (stage.output.accepts(TURN_BYTES, TURN_BYTES)) stage.data(1, TURN_BYTES)
    expect(stage.output.unsentBytes).toBeGreaterThan(LARGE_SLAB_BYTES)
    for (let small = 0; small < 3; small++) {
      expect(stage.output.accepts(16_384, 0)).toBe(true)
      stage.data(3, 16_384)
    }
  })

  it('output is full with a record less than a block, and empty again when it has left', () => {
    const stage = new Stage()
    expect(stage.output.isEmpty).toBe(true)
    stage.data(1, 16_384 - 9 - 1)
    expect(stage.output.isFull).toBe(false)
    stage.data(1, 1)
    expect(stage.output.isFull).toBe(true)
    stage.output.flush()
    expect(stage.output.isEmpty).toBe(false)
    stage.socket.confirm()
    expect(stage.output.isFull).toBe(false)
    expect(stage.output.isEmpty).toBe(true)
    expect(stage.output.unsentBytes).toBe(0)
    expect(stage.output.sentBytes).toBe(stage.socket.bytes.length)
  })

  it.each([false, true])('larger blocks are for sessions that may use them (%s) and get on', (may) => {
    const stage = new Stage()
    stage.output.mayUseLargeBlocks = may
    const sources = [1, 3, 5, 7].map((id) => new Source(stage, [], id, 100))
    for (const source of sources) source.send()
    stage.drain()
    expect(stage.socket.writes[0]?.length).toBeLessThanOrEqual(SMALL_SLAB_BYTES)
    expect([...stage.pool.out]).toEqual([])
    const largest = may ? LARGE_SLAB_BYTES : SMALL_SLAB_BYTES
    expect(stage.socket.writes.every(({ length }) => length <= largest)).toBe(true)
    expect(stage.socket.writes.some(({ length }) => length > SMALL_SLAB_BYTES)).toBe(may)
  })

  it('more urgent frames than a client may leave unread are an overflow', () => {
    const stage = new Stage()
    stage.output.flush()
    while (stage.overflows === 0 && stage.output.unsentBytes < 1_000_000) stage.urgent(PING)
    expect(stage.overflows).toBe(1)
    expect(stage.output.unsentBytes).toBe(Math.floor(262_144 / PING.length) * PING.length)
  })

  it('more frames in order than a client may leave unread are an overflow', () => {
    const stage = new Stage()
    while (stage.overflows === 0 && stage.output.unsentBytes < 1_000_000) stage.inOrder(RESET)
    expect(stage.overflows).toBe(1)
    expect(stage.output.unsentBytes).toBeLessThan(2 * LARGE_SLAB_BYTES + 262_144 + 2 * RESET.length)
    expect(stage.output.isOverfull).toBe(true)
  })
})

describe('Output, its end', () => {
  it('it tells once when everything has left', () => {
    const stage = new Stage()
    let told = 0
    stage.data(1, 50_000)
    stage.urgent(PING)
    stage.output.whenEmpty(() => void told++)
    stage.output.flush()
    while (stage.socket.isWriting) {
      expect(told).toBe(0)
      stage.socket.confirm()
    }
    expect(told).toBe(1)
    stage.data(1, 5)
    stage.drain()
    expect(told).toBe(1)
    stage.output.whenEmpty(() => void told++)
    expect(told).toBe(2)
  })

  it.each(['before the write', 'during the write', 'during a write that fails', 'after the write'] as const)(
    'a close gives every block back: %s',
    (when) => {
      const stage = new Stage()
      for (let count = 0; count < 10; count++) stage.data(1, 16_000)
      if (when !== 'before the write') stage.output.flush()
      if (when === 'after the write') stage.socket.confirm()
      stage.output.close()
      stage.output.close()
      stage.data(1, 5)
      stage.urgent(PING)
      stage.output.endStream(1)
      if (when === 'during a write that fails') stage.socket.confirm(new Error('lost'))
      else stage.drain()
      stage.output.flush()
      expect([...stage.pool.out]).toEqual([])
      expect(stage.pool.discarded).toBe(when === 'during a write that fails' ? 1 : 0)
      expect(stage.output.unsentBytes).toBe(0)
      expect(stage.socket.isWriting).toBe(false)
    },
  )

  it('after a close nothing is written and nobody is told', () => {
    const stage = new Stage()
    let told = 0
    stage.data(1, 50_000)
    stage.output.wait({ onRoom: () => void told++ })
    stage.output.whenEmpty(() => void told++)
    stage.output.flush()
    const written = stage.socket.bytes.length
    stage.output.close()
    stage.drain()
    expect(stage.socket.bytes.length).toBe(written)
    expect(told).toBe(0)
  })
})

type Step =
  | { readonly kind: 'urgent' | 'inOrder' | 'last' | 'flush' | 'confirm' }
  | { readonly kind: 'data'; readonly stream: number; readonly bytes: number; readonly whole: boolean }
  | { readonly kind: 'end'; readonly stream: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom('urgent', 'inOrder', 'last', 'flush', 'confirm', 'confirm') }),
  fc.record({
    kind: fc.constant('data'),
    stream: fc.constantFrom(1, 3, 5),
    bytes: fc.oneof(fc.nat(20), fc.nat(70_000)),
    whole: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('end'), stream: fc.constantFrom(1, 3, 5) }),
)

/** What must arrive: per stream its bytes and its end; and all control frames, those of each kind in order. */
class Model {
  readonly content: Record<number, Buffer[]> = { 1: [], 3: [], 5: [] }
  readonly ended = new Set<number>()
  readonly control: Record<string, number[]> = { urgent: [], inOrder: [], last: [] }
}

function run(steps: readonly Step[], stage: Stage, model: Model): void {
  let number = 0
  for (const next of steps) {
    number++
    switch (next.kind) {
      case 'data': {
        if (model.ended.has(next.stream) || stage.output.isOverfull) break
        const from = Buffer.alloc(next.bytes, number)
        const size = next.whole ? 16_384 : undefined
        stage.output.data(next.stream, from, 0, next.bytes, size)
        model.content[next.stream]?.push(Buffer.alloc(next.bytes, number))
        from.fill(0xcc)
        break
      }
      case 'end':
        if (model.ended.has(next.stream)) break
        model.ended.add(next.stream)
        stage.output.endStream(next.stream)
        break
      case 'flush':
        stage.output.flush()
        break
      case 'confirm':
        stage.socket.confirm()
        break
      default:
        model.control[next.kind]?.push(number)
        stage[next.kind](frame({ urgent: 6, inOrder: 3, last: 4 }[next.kind], { stream: number }))
    }
  }
}

describe('Output, beside a model', () => {
  it('nothing is lost, doubled or put out of order', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const [stage, model] = [new Stage(), new Model()]
        run(steps, stage, model)
        stage.drain()
        const frames = framesOf(stage.socket.bytes)
        for (const [stream, content] of Object.entries(model.content)) {
          const own = frames.filter(({ name, ...sent }) => name === 'DATA' && sent.stream === Number(stream))
          expect(Buffer.concat(own.map(({ payload }) => payload)).equals(Buffer.concat(content))).toBe(true)
          const ends = own.map(({ flags }) => flags === 1)
          expect(ends.indexOf(true)).toBe(model.ended.has(Number(stream)) ? own.length - 1 : -1)
        }
        for (const [kind, type] of [
          ['urgent', 'PING'],
          ['inOrder', 'RST_STREAM'],
          ['last', 'SETTINGS'],
        ] as const)
          expect(frames.filter(({ name }) => name === type).map((sent) => sent.stream)).toEqual(
            model.control[kind],
          )
        expect([...stage.pool.out]).toEqual([])
        expect(stage.output.isEmpty).toBe(true)
        expect(stage.output.sentBytes).toBe(stage.socket.bytes.length)
      }),
    )
  })

  it('a close at any moment gives every block back, and writes only whole writes of before', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.array(step, { maxLength: 20 }),
        fc.boolean(),
        (before, after, fails) => {
          const [stage, model] = [new Stage(), new Model()]
          run(before, stage, model)
          const { writes } = stage.socket
          const written = writes.length
          stage.output.close()
          stage.socket.confirm(fails ? new Error('lost') : undefined)
          run(after, stage, model)
          stage.output.flush()
          expect(stage.socket.writes).toHaveLength(written)
          expect([...stage.pool.out]).toEqual([])
          for (const bytes of writes) expect(() => framesOf(bytes)).not.toThrow()
        },
      ),
    )
  })
})
