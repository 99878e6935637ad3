import { describe, expect, it } from 'vitest'
import { UploadBudget } from '../../../../src/transport/http2/window-growth.ts'
import type { Http2Stream } from '../../../../src/transport/http2/stream.ts'
import { STREAM_WINDOW, StreamStage } from './stream-stage.ts'

const MIB = 1_048_576
const MAX_STREAM_WINDOW = 8 * MIB
const QUARTER = STREAM_WINDOW / 4

function stageOf(roundTripMs: number): StreamStage {
  const stage = new StreamStage({ sessionWindowBytes: 64 * MIB })
  stage.growth.enable()
  measure(stage, roundTripMs)
  return stage
}

/** Has the delay measured, if it is time. */
function measure(stage: StreamStage, roundTripMs: number): void {
  const { stream, receiver } = stage.open(1001)
  stream.start(receiver)
  stage.growth.growthOf(stream, 1)
  stage.clock.advance(roundTripMs)
  stage.growth.onPong()
  stream.reset('cancel')
  stage.sent()
}

/** The client uses all that it may, and the target takes it: one window in `everyMs`. */
function upload(stage: StreamStage, stream: Http2Stream, everyMs: number): void {
  const quarter = Math.floor(stream.receiveTarget / 4)
  for (let count = 0; count < 4; count++) {
    stage.clock.advance(everyMs / 4)
    stage.receive(stream, quarter)
    stream.credit(quarter)
  }
}

describe('WindowGrowth', () => {
  it('a window doubles while the whole of it is under way', () => {
    const stage = stageOf(100)
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    const targets: number[] = []
    for (let count = 0; count < 4; count++) {
      upload(stage, stream, 100)
      targets.push(stream.receiveTarget)
    }
    expect(targets[0]).toBeGreaterThan(STREAM_WINDOW)
    for (const [index, target] of targets.entries())
      expect(Math.log2(target / STREAM_WINDOW) % 1, `target ${index}`).toBe(0)
    expect(targets.at(-1)).toBe(MAX_STREAM_WINDOW)
    expect(stream.receiveWindow).toBeLessThanOrEqual(stream.receiveTarget)
  })

  it('a window stays as it is when less than half of it is under way', () => {
    const stage = stageOf(100)
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    for (let count = 0; count < 10; count++) upload(stage, stream, 201)
    expect(stream.receiveTarget).toBe(STREAM_WINDOW)
  })

  it('a window stays as it is on a short path', () => {
    const stage = stageOf(1)
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    for (let count = 0; count < 10; count++) upload(stage, stream, 4)
    expect(stream.receiveTarget).toBe(STREAM_WINDOW)
  })

  it('nothing grows before a user has authenticated, nor is anything measured', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    for (let count = 0; count < 10; count++) upload(stage, stream, 1)
    expect(stream.receiveTarget).toBe(STREAM_WINDOW)
    expect(stage.pings).toBe(0)
  })

  it('nothing grows before a round trip was measured', () => {
    const stage = new StreamStage()
    stage.growth.enable()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    for (let count = 0; count < 10; count++) upload(stage, stream, 1)
    expect(stream.receiveTarget).toBe(STREAM_WINDOW)
    expect(stage.pings).toBe(1)
  })

  it('the delay is measured no more often than four times a second', () => {
    const stage = stageOf(10)
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    const before = stage.pings
    for (let count = 0; count < 24; count++) {
      stage.clock.advance(10)
      stage.growth.growthOf(stream, 1)
    }
    expect(stage.pings).toBe(before)
    stage.clock.advance(10)
    stage.growth.growthOf(stream, 1)
    expect(stage.pings).toBe(before + 1)
    stage.clock.advance(1000)
    stage.growth.growthOf(stream, 1)
    expect(stage.pings).toBe(before + 1)
  })

  it('an answer that nobody asked for measures nothing', () => {
    const stage = new StreamStage()
    stage.growth.enable()
    stage.growth.onPong()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    for (let count = 0; count < 10; count++) upload(stage, stream, 1)
    expect(stream.receiveTarget).toBe(STREAM_WINDOW)
  })

  it('the streams of a session grow by 16 MiB together, and give it back', () => {
    const stage = stageOf(100)
    const open = [1, 3, 5].map((id) => stage.open(id))
    for (const { stream, receiver } of open) {
      stream.start(receiver)
      for (let count = 0; count < 10; count++) upload(stage, stream, 100)
    }
    const growths = open.map(({ stream }) => stream.receiveTarget - STREAM_WINDOW)
    expect(growths[0]).toBe(MAX_STREAM_WINDOW - STREAM_WINDOW)
    expect(growths.reduce((sum, bytes) => sum + bytes)).toBe(16 * MIB)
    open[0]?.stream.reset('cancel')
    const { stream, receiver } = stage.open(7)
    stream.start(receiver)
    for (let count = 0; count < 10; count++) upload(stage, stream, 100)
    expect(stream.receiveTarget).toBe(MAX_STREAM_WINDOW)
  })

  it('what a stream had grown by is given back however it ends', () => {
    for (const how of ['reset', 'lost', 'ended'] as const) {
      const stage = stageOf(100)
      const { stream, receiver } = stage.open(1)
      stream.start(receiver)
      for (let count = 0; count < 10; count++) upload(stage, stream, 100)
      if (how === 'reset') stream.reset('cancel')
      else if (how === 'lost') stream.onLost('left')
      else {
        stream.onRemoteEnd()
        stream.end()
      }
      stream.credit(QUARTER)
      expect(stage.uploads.take(1000 * MIB)).toBe(128 * MIB)
    }
  })

  it('no stream grows when all sessions have grown by 128 MiB', () => {
    const stage = stageOf(100)
    expect(stage.uploads.take(1000 * MIB)).toBe(128 * MIB)
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    for (let count = 0; count < 10; count++) upload(stage, stream, 100)
    expect(stream.receiveTarget).toBe(STREAM_WINDOW)
    stage.uploads.give(100)
    upload(stage, stream, 100)
    expect(stream.receiveTarget).toBe(STREAM_WINDOW + 100)
  })
})

describe('UploadBudget', () => {
  it('a session holds 32 MiB, and 1 MiB when all hold too much', () => {
    const budget = new UploadBudget()
    expect(budget.isExceededBy(32 * MIB)).toBe(false)
    expect(budget.isExceededBy(32 * MIB + 1)).toBe(true)
    budget.heldBytes = 256 * MIB
    expect(budget.isExceededBy(2 * MIB)).toBe(false)
    budget.heldBytes++
    expect(budget.isExceededBy(MIB + 1)).toBe(true)
    expect(budget.isExceededBy(MIB)).toBe(false)
  })
})
