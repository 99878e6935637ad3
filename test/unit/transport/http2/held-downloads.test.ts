import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Http2Stream } from '../../../../src/transport/http2/stream.ts'
import { NotingReceiver, StreamStage } from './stream-stage.ts'

const MIB = 1024 * 1024
const SESSION = { stop: 8 * MIB, reset: 32 * MIB }
const LANE = { stop: 128 * MIB, reset: 256 * MIB }
const SHARE = MIB
const STALL_MS = 60_000
const CONTENT = Buffer.alloc(SESSION.reset)

/** The target behind it can be stopped. */
class StoppableReceiver extends NotingReceiver {
  onStop(): void {
    this.calls.push('stop')
  }
}

/** A session whose client gives no window. */
function stageWithoutWindow(): StreamStage {
  const stage = new StreamStage()
  stage.streams.setInitialSendWindow(0)
  return stage
}

function open(stage: StreamStage, id: number): { stream: Http2Stream; receiver: NotingReceiver } {
  const { stream } = stage.open(id)
  const receiver = new StoppableReceiver()
  stream.start(receiver)
  return { stream, receiver }
}

describe('HeldDownloads', () => {
  it('targets are stopped when a session holds too much, and go on when half of that has gone', () => {
    const stage = stageWithoutWindow()
    const [first, other] = [open(stage, 1), open(stage, 3)]
    first.stream.write(CONTENT, 0, SESSION.stop)
    expect(other.receiver.calls).toEqual([])
    const last = open(stage, 5)
    last.stream.write(CONTENT, 0, 1)
    expect(other.receiver.calls).toEqual(['stop'])
    const late = open(stage, 7)
    expect(late.receiver.calls).toEqual(['stop'])

    stage.streams.sendWindow = 2 * SESSION.stop
    first.stream.growSendWindow(SESSION.stop / 2)
    stage.drain()
    expect([other.receiver.calls, late.receiver.calls]).toEqual([['stop'], ['stop']])
    first.stream.growSendWindow(1)
    stage.drain()
    expect([other.receiver.calls, late.receiver.calls]).toEqual([
      ['stop', 'room'],
      ['stop', 'room'],
    ])
    expect(stage.downloads.heldBytes).toBe(SESSION.stop / 2)
  })

  it('where all sessions hold too much, those are stopped that hold more than their share', () => {
    const stage = stageWithoutWindow()
    stage.downloads.heldBytes = LANE.stop
    const [first, other] = [open(stage, 1), open(stage, 3)]
    first.stream.write(CONTENT, 0, SHARE)
    expect(other.receiver.calls).toEqual([])
    first.stream.write(CONTENT, 0, 1)
    expect(other.receiver.calls).toEqual(['stop'])
    // The others hold less now; that is seen at the next look.
    stage.downloads.heldBytes -= LANE.stop
    stage.streams.check(0, true)
    expect(other.receiver.calls).toEqual(['stop', 'room'])
  })

  it.each([
    ['a session', 0, SESSION.reset],
    ['a lane', LANE.reset, SHARE],
  ])('a stream that makes %s hold far too much is reset', async (_, elsewhere, most) => {
    const stage = stageWithoutWindow()
    stage.downloads.heldBytes = elsewhere
    const [first, second] = [stage.open(1), stage.open(3)]
    first.stream.start(first.receiver)
    second.stream.start(second.receiver)
    first.stream.write(CONTENT, 0, most)
    await turn()
    expect(first.ends).toEqual([])
    second.stream.write(CONTENT, 0, 1)
    await turn()
    expect([first.ends, second.ends]).toEqual([[], ['reset']])
    expect(stage.sent()).toEqual(['RST_STREAM 3'])
    expect(stage.downloads.heldBytes).toBe(elsewhere + most)
  })

  it("a stream that lets nothing go is reset after a while: a visitor's, or a user's while targets are stopped", () => {
    for (const [isTrusted, bytes, ends] of [
      [false, 1, ['reset']],
      [true, 1, []],
      [true, SESSION.stop + 1, ['reset']],
    ] as const) {
      const stage = stageWithoutWindow()
      const { stream, ends: seen } = stage.open(1)
      stream.write(CONTENT, 0, bytes)
      for (const now of [0, STALL_MS - 1]) stage.streams.check(now, isTrusted)
      expect(seen).toEqual([])
      stage.streams.check(STALL_MS, isTrusted)
      expect(seen).toEqual(ends)
    }
  })

  it('what a session held is held no more when it is over', () => {
    const stage = stageWithoutWindow()
    open(stage, 1).stream.write(CONTENT, 0, SESSION.stop + 1)
    stage.streams.close()
    stage.streams.loseAll('reset')
    expect(stage.downloads.heldBytes).toBe(0)
  })
})
