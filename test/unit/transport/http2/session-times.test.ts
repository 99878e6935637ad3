import { describe, expect, it } from 'vitest'
import { SessionTimes } from '../../../../src/transport/http2/session-times.ts'
import { StreamStage } from './stream-stage.ts'

/** Asked once a second, as a session does. */
function firstDue(times: SessionTimes, { output }: StreamStage, fromMs: number, untilMs: number): string {
  for (let now = fromMs; now <= untilMs; now += 1000) {
    const due = times.due(now, output)
    if (due !== undefined) return `${due} at ${now}`
  }
  return 'never'
}

const HOUR = 3_600_000

describe('SessionTimes', () => {
  it('a visitor has a minute for the first request', () => {
    expect(firstDue(new SessionTimes(5000), new StreamStage(), 5000, HOUR)).toBe('visit_over at 65000')
  })

  it('a visitor has as long as it takes for an answer, and 75 seconds after it', () => {
    const times = new SessionTimes(0)
    times.onRequest()
    expect(firstDue(times, new StreamStage(), 0, HOUR)).toBe('never')
    times.onIdle(HOUR)
    expect(firstDue(times, new StreamStage(), HOUR, 2 * HOUR)).toBe(`visit_over at ${HOUR + 75_000}`)
    times.onRequest()
    expect(firstDue(times, new StreamStage(), 2 * HOUR, 3 * HOUR)).toBe('never')
  })

  it('a user may stay', () => {
    const times = new SessionTimes(0)
    times.trust()
    times.onRequest()
    times.onIdle(1000)
    expect(firstDue(times, new StreamStage(), 0, HOUR)).toBe('never')
  })

  it.each([
    ['a visitor', 60_000],
    ['a user', 300_000],
  ])('%s that takes nothing of what waits is stalled after %i ms', (who, limitMs) => {
    const [times, stage] = [new SessionTimes(0), new StreamStage()]
    times.onRequest()
    if (who === 'a user') times.trust()
    stage.open(1).stream.write(Buffer.alloc(100), 0, 100)
    stage.output.flush()
    expect(firstDue(times, stage, 1000, HOUR)).toBe(`stalled at ${1000 + limitMs}`)
  })

  it('whoever takes some now and then is not stalled', () => {
    const [times, stage] = [new SessionTimes(0), new StreamStage()]
    times.onRequest()
    const { stream } = stage.open(1)
    for (let now = 0; now < HOUR; now += 59_000) {
      stream.write(Buffer.alloc(100), 0, 100)
      stage.socket.confirm()
      stage.output.flush()
      expect(firstDue(times, stage, now, now + 58_000)).toBe('never')
    }
    stage.drain()
    expect(firstDue(times, stage, HOUR, 2 * HOUR)).toBe('never')
  })
})
