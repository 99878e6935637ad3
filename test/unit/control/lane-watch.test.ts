/** Which lanes are taken for stuck, and when nobody may be. */
import { describe, expect, it } from 'vitest'
import { LaneWatch } from '../../../src/control/lane-watch.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const SECOND_MS = 1000
const LIMIT_SECS = 10

class StoppableClock extends FakeClock {
  #lostMs = 0

  override now(): number {
    return super.now() + this.#lostMs
  }

  /** Nothing of the process runs for so long, and then what has been due for a while. */
  stopFor(seconds: number): void {
    this.#lostMs += seconds * SECOND_MS
  }
}

class Stage {
  readonly clock = new StoppableClock()
  readonly lanes = [{ beats: 0 }, { beats: 0 }]
  readonly silent: unknown[] = []
  isDebugged = false
  readonly watch = new LaneWatch({
    clock: this.clock,
    running: () => this.lanes,
    onSilent: (lane) => this.silent.push(lane),
    isDebugged: () => this.isDebugged,
  })

  /** Time passes in which `beating` lanes beat. */
  pass(seconds: number, ...beating: { beats: number }[]): void {
    for (let second = 0; second < seconds; second++) {
      for (const lane of beating) lane.beats++
      this.clock.advance(SECOND_MS)
    }
  }
}

function start(): Stage {
  const stage = new Stage()
  stage.pass(1, ...stage.lanes)
  return stage
}

describe('a lane without a beat', () => {
  it('a lane without a beat for 10 s is told of, once, and those that beat are not', () => {
    const stage = start()
    const [stuck, other = { beats: 0 }] = stage.lanes
    stage.pass(LIMIT_SECS - 1, other)
    expect(stage.silent).toEqual([])
    stage.pass(LIMIT_SECS, other)
    expect(stage.silent).toEqual([stuck])
  })

  it('a lane without a beat for less than 10 s begins anew', () => {
    const stage = start()
    for (let times = 0; times < 5; times++) {
      stage.pass(LIMIT_SECS - 1)
      stage.pass(1, ...stage.lanes)
    }
    expect(stage.silent).toEqual([])
  })

  it('a lane without a beat is not blamed for seconds in which the whole process was stopped', () => {
    const stage = start()
    for (let times = 0; times < 2 * LIMIT_SECS; times++) {
      stage.clock.stopFor(3600)
      stage.pass(1)
    }
    expect(stage.silent).toEqual([])
    stage.pass(LIMIT_SECS)
    expect(stage.silent).toEqual(stage.lanes)
  })

  it('a lane without a beat is left alone while somebody debugs the process', () => {
    const stage = start()
    stage.isDebugged = true
    stage.pass(10 * LIMIT_SECS)
    expect(stage.silent).toEqual([])
  })
})
