import { expect, it } from 'vitest'
import { CrashBudget } from '../../../src/control/crash-budget.ts'
import { LaneStats } from '../../../src/control/lane-stats.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const TOTAL = 'sessions_total{HTTP2}'
const GAUGE = 'client_sessions{HTTP2}'

it('the figures of lanes are summed, and a dead lane leaves its totals as they were last read', () => {
  const stats = new LaneStats()
  const both = new Map([
    [0, { [TOTAL]: 5, [GAUGE]: 2 }],
    [1, { [TOTAL]: 7, [GAUGE]: 3 }],
  ])
  expect(stats.sum(both)).toEqual({ [TOTAL]: 12, [GAUGE]: 5 })
  stats.onDeath(1)
  expect(stats.sum(new Map([[0, { [TOTAL]: 6, [GAUGE]: 2 }]]))).toEqual({ [TOTAL]: 13, [GAUGE]: 2 })
  both.set(1, { [TOTAL]: 1, [GAUGE]: 1 })
  expect(stats.sum(both)).toEqual({ [TOTAL]: 13, [GAUGE]: 3 })
  stats.onDeath(1)
  stats.onDeath(1)
  expect(stats.sum(new Map())).toEqual({ [TOTAL]: 8 })
})

it('two lanes may die within a minute, the third is one too many', () => {
  const clock = new FakeClock()
  const budget = new CrashBudget(clock)
  expect([budget.spend(), budget.spend()]).toEqual([true, true])
  clock.advance(60_000)
  expect([budget.spend(), budget.spend()]).toEqual([true, true])
  clock.advance(59_999)
  expect(budget.spend()).toBe(false)
})
