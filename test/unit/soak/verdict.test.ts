/** The verdict on a soak: what is wrong is said, what is not is no reason to complain. */
import { describe, expect, it } from 'vitest'
import { growthMib, judge } from '../../soak/verdict.ts'
import type { Findings, Sample } from '../../soak/verdict.ts'

const rising = (mibPerMinute: number): Sample[] =>
  Array.from({ length: 60 }, (_, atMinutes) => ({ atMinutes, rssMib: 200 + mibPerMinute * atMinutes }))

const FINE: Findings = {
  samples: rising(0),
  failures: new Map(),
  complaints: new Map([['a lane has failed and is started again', 1]]),
  laneFailures: 1,
  stats: { requests: 5, open_streams: 0 },
  gauges: ['open_streams'],
  descriptorsBefore: 40,
  descriptorsAfter: 40,
  exitCode: 0,
}

describe('the verdict on a soak', () => {
  it('the verdict on a soak in which all was well is empty', () => {
    expect(judge(FINE)).toEqual([])
  })

  it.each<[string, Partial<Findings>, RegExp]>([
    ['an operation that failed', { failures: new Map([['echo: reset', 2]]) }, /failed 2 times: echo: reset/],
    ['a complaint in the log', { complaints: new Map([['failed', 1]]) }, /in the log 1 times: failed/],
    [
      'a counter that should be 0',
      { stats: { 'http2_limits_met{pings}': 1 } },
      /http2_limits_met\{pings\} 1/,
    ],
    ['a gauge that is not 0', { stats: { open_streams: 3 } }, /open_streams is 3/],
    ['a descriptor that is left', { descriptorsAfter: 41 }, /41 descriptors in the end, 40 before/],
    ['memory that grows', { samples: rising(1) }, /grew by 39\.0 MiB/],
    ['an exit code', { exitCode: 1 }, /ended with 1/],
  ])('the verdict on a soak has %s', (_, found, words) => {
    const complaints = new Map([...FINE.complaints, ...(found.complaints ?? [])])
    expect(judge({ ...FINE, ...found, complaints })).toEqual([expect.stringMatching(words)])
  })

  it('growth counts from a third of the time on, whatever went before', () => {
    const samples = rising(0).map((sample, index) => (index < 20 ? { ...sample, rssMib: 100 } : sample))
    expect(growthMib(samples)).toBe(0)
    expect(growthMib([])).toBe(0)
  })
})
