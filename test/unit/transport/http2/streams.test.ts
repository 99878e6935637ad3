import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_WINDOW_BYTES } from '../../../../src/wire/http2/protocol.ts'
import { SESSION_WINDOW, STREAM_WINDOW, StreamStage } from './stream-stage.ts'

const CONTENT = Buffer.alloc(70_000, 5)

describe('Streams, what the client lets us send', () => {
  it('the first windows are those of RFC 9113', () => {
    const stage = new StreamStage()
    expect(stage.streams.sendWindow).toBe(65_535)
    expect(stage.open(1).stream.sendWindow).toBe(65_535)
  })

  it('all streams together send no more than the window of the connection', () => {
    const stage = new StreamStage()
    const [first, second] = [stage.open(1).stream, stage.open(3).stream]
    first.write(CONTENT, 0, 40_000)
    stage.drain()
    second.write(CONTENT, 0, 40_000)
    stage.drain()
    expect(stage.contentOf(1)).toHaveLength(40_000)
    expect(stage.contentOf(3)).toHaveLength(25_535)
    expect(stage.streams.sendWindow).toBe(0)
  })

  // The first took all until it had nothing left.
  it('streams that wait for the connection take turns in what is let through', () => {
    const stage = new StreamStage()
    stage.streams.sendWindow = 0
    for (const id of [1, 3, 5]) stage.open(id).stream.write(CONTENT, 0, 1000)
    for (let count = 0; count < 3; count++) stage.grow(600)
    expect(stage.sent()).toEqual(['DATA 1 x600', 'DATA 3 x600', 'DATA 5 x600'])
    stage.grow(1200)
    expect(stage.sent()).toEqual(['DATA 1 x400', 'DATA 3 x400', 'DATA 5 x400'])
  })

  it('streams that wait to send a whole datagram are not asked again for every byte of window', () => {
    const stage = new StreamStage()
    stage.streams.sendWindow = 0
    const ids = Array.from({ length: 100 }, (_, index) => 1 + 2 * index)
    let asked = 0
    for (const id of ids) {
      const { stream } = stage.open(id)
      stream.keepsWrites = true
      stream.write(CONTENT, 0, 1400)
      const onWindow = stream.onWindow.bind(stream)
      stream.onWindow = () => {
        asked++
        onWindow()
      }
    }
    for (let bytes = 0; bytes < 1399; bytes++) stage.grow(1)
    expect([asked, stage.sent()]).toEqual([0, []])
    stage.grow(1)
    expect([asked, stage.sent()]).toEqual([1, ['DATA 1 x1400']])
    stage.grow(99 * 1400)
    expect([asked, stage.sent()]).toEqual([100, ids.slice(1).map((id) => `DATA ${id} x1400`)])
  })

  it('a datagram that will never fit the initial window again goes in pieces of what the connection allows', () => {
    const stage = new StreamStage()
    stage.streams.sendWindow = 0
    const { stream } = stage.open(1)
    stream.keepsWrites = true
    stream.write(CONTENT, 0, 1400)
    stage.streams.setInitialSendWindow(1000)
    // The change has taken most of the stream's own window as well.
    stage.grow(600)
    expect(stage.sent()).toEqual(['DATA 1 x600'])
  })

  it('a change of the initial window changes all that are open, and may leave them below zero', () => {
    const stage = new StreamStage()
    const { stream } = stage.open(1)
    stream.write(CONTENT, 0, 1000)
    stage.streams.setInitialSendWindow(100)
    expect(stream.sendWindow).toBe(-900)
    expect(stage.open(3).stream.sendWindow).toBe(100)
    stage.streams.setInitialSendWindow(1500)
    expect(stream.sendWindow).toBe(500)
    expect(stage.streams.sendWindow).toBe(64_535)
  })

  it('a larger initial window lets streams that wait for it go on', () => {
    const stage = new StreamStage()
    stage.streams.setInitialSendWindow(0)
    const { stream } = stage.open(1)
    stream.write(CONTENT, 0, 100)
    stage.streams.setInitialSendWindow(60)
    expect(stage.sent()).toEqual(['DATA 1 x60'])
  })

  it('a window never becomes larger than a window can be', () => {
    const stage = new StreamStage()
    const [first, second] = [stage.open(1), stage.open(3)]
    expect(stage.streams.growSendWindow(MAX_WINDOW_BYTES - 65_535)).toBe(true)
    expect(stage.streams.growSendWindow(1)).toBe(false)
    expect(first.stream.growSendWindow(MAX_WINDOW_BYTES - 65_535)).toBe(true)
    expect(first.stream.growSendWindow(1)).toBe(false)
    stage.streams.setInitialSendWindow(65_536)
    expect(first.ends).toEqual(['reset'])
    expect(second.ends).toEqual([])
    expect(stage.sent()).toEqual(['RST_STREAM 1'])
  })
})

describe('Streams, what we let the client send', () => {
  it('no more is taken than the window of the connection', () => {
    const stage = new StreamStage({ sessionWindowBytes: 100_000 })
    expect(stage.streams.takeReceiveWindow(60_000)).toBe(true)
    expect(stage.streams.takeReceiveWindow(40_001)).toBe(false)
    expect(stage.streams.takeReceiveWindow(40_000)).toBe(true)
    expect(stage.uploads.heldBytes).toBe(100_000)
  })

  it('the window of the connection is given back once a quarter of it has been consumed', () => {
    const stage = new StreamStage({ sessionWindowBytes: 100_000 })
    stage.streams.takeReceiveWindow(100_000)
    stage.streams.onConsumed(24_999)
    expect(stage.sent()).toEqual([])
    expect(stage.streams.takeReceiveWindow(1)).toBe(false)
    stage.streams.onConsumed(1)
    expect(stage.sent()).toEqual(['WINDOW_UPDATE 0'])
    expect(stage.streams.takeReceiveWindow(25_000)).toBe(true)
    expect(stage.uploads.heldBytes).toBe(100_000)
  })

  it('raised windows hold for streams that are open and for those to come', () => {
    const stage = new StreamStage()
    const { stream } = stage.open(1)
    stage.receive(stream, 1000)
    stage.streams.raiseReceiveWindow(STREAM_WINDOW + 5000)
    expect(stream.receiveWindow).toBe(STREAM_WINDOW + 4000)
    expect(stream.receiveTarget).toBe(STREAM_WINDOW + 5000)
    expect(stage.open(3).stream.receiveWindow).toBe(STREAM_WINDOW + 5000)
  })

  it('a connection that is over holds nothing', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stage.receive(stream, 1000)
    stage.streams.close()
    expect(stage.uploads.heldBytes).toBe(0)
    stream.credit(1000)
    stream.onLost('reset')
    expect(stage.uploads.heldBytes).toBe(0)
  })

  it('the windows always add up, whatever is received, credited and closed', () => {
    const step = fc.record({
      stream: fc.nat(3),
      act: fc.constantFrom('receive', 'receive', 'credit', 'credit', 'pad', 'end', 'reset', 'lose'),
      bytes: fc.oneof(fc.nat(50), fc.nat(60_000)),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const stage = new StreamStage()
        stage.growth.enable()
        const open = [1, 3, 5, 7].map((id) => ({ ...stage.open(id), owed: 0, hasReceiver: id !== 7 }))
        for (const one of open) if (one.hasReceiver) one.stream.start(one.receiver)
        for (const { stream: index, act, bytes } of steps) {
          const one = open[index]
          if (one === undefined) continue
          const { stream } = one
          const allowed = stream.isClosed || stream.remoteEnded ? 0 : Math.min(bytes, stream.receiveWindow)
          if (act === 'receive') {
            stage.receive(stream, allowed)
            if (one.hasReceiver) one.owed += allowed
          } else if (act === 'pad' && stage.streams.takeReceiveWindow(allowed)) {
            stream.receiveWindow -= allowed
            stream.onPadding(allowed)
          } else if (act === 'credit') {
            const credited = Math.min(bytes, one.owed)
            one.owed -= credited
            stream.credit(credited)
          } else if (act === 'end') stream.onRemoteEnd()
          else if (act === 'reset') stream.reset('cancel')
          else if (act === 'lose') stream.onLost('reset')
          if (one.ends.includes('reset')) one.owed = 0
          for (const { stream: each } of open) {
            expect(each.receiveWindow).toBeGreaterThanOrEqual(0)
            expect(each.receiveWindow).toBeLessThanOrEqual(each.receiveTarget)
          }
          const held = open.reduce((sum, each) => sum + each.owed, 0)
          const early = open[3]?.stream.isClosed === false ? stage.uploads.heldBytes - held : 0
          expect(stage.uploads.heldBytes).toBe(held + early)
          expect(early).toBeGreaterThanOrEqual(0)
        }
        for (const { stream } of open) stream.onLost('reset')
        expect(stage.uploads.heldBytes).toBe(0)
        expect(stage.streams.size).toBe(0)
        // All that was received has been consumed: less than a quarter of the window is not announced yet.
        expect(stage.streams.takeReceiveWindow((SESSION_WINDOW * 3) / 4)).toBe(true)
      }),
    )
  })
})

describe('Streams, their end', () => {
  it('the last stream that closes is told, unless the connection ends', () => {
    const stage = new StreamStage()
    const [first, second] = [stage.open(1).stream, stage.open(3).stream]
    first.reset('cancel')
    expect(stage.lastClosed).toBe(0)
    second.onLost('reset')
    expect(stage.lastClosed).toBe(1)
    stage.open(5)
    stage.streams.loseAll('reset')
    expect(stage.lastClosed).toBe(1)
  })

  it('all streams of a connection are lost from the newest to the oldest', () => {
    const stage = new StreamStage()
    const order: number[] = []
    for (const id of [1, 3, 5]) stage.open(id).stream.owner = { onStreamClosed: () => void order.push(id) }
    stage.streams.loseAll('reset')
    expect(order).toEqual([5, 3, 1])
    expect(stage.sent()).toEqual([])
  })
})
