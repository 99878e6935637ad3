import { describe, expect, it } from 'vitest'
import { Budgets } from '../../../../src/transport/http2/budgets.ts'
import type { BudgetName } from '../../../../src/transport/http2/budgets.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const RATES: [BudgetName, number, number][] = [
  ['streams', 20_000, 10_000],
  ['client_resets', 5000, 1000],
  ['own_resets', 5000, 1000],
  ['settings', 100, 10],
  ['pings', 10_000, 1000],
  ['unknown_frames', 10_000, 1000],
  ['empty_data', 10_000, 1000],
  ['tiny_data', 200_000, 50_000],
  ['window_updates', 200_000, 100_000],
]

/** How many may be taken now. */
function takeAll(budgets: Budgets, name: BudgetName): number {
  let taken = 0
  while (budgets.take(name)) taken++
  return taken
}

describe('Budgets', () => {
  it.each(RATES)('%s: %i at once, %i more in each second', (name, burst, perSecond) => {
    const clock = new FakeClock()
    const budgets = new Budgets(clock)
    expect(takeAll(budgets, name)).toBe(burst)
    clock.advance(1000)
    expect(takeAll(budgets, name)).toBe(Math.min(burst, perSecond))
    clock.advance(100)
    expect(takeAll(budgets, name)).toBe(perSecond / 10)
    clock.advance(3_600_000)
    expect(takeAll(budgets, name)).toBe(burst)
  })

  it('asking in vain does not use up what comes back', () => {
    const clock = new FakeClock()
    const budgets = new Budgets(clock)
    takeAll(budgets, 'settings')
    for (let count = 0; count < 1000; count++) {
      clock.advance(1)
      if (budgets.take('settings')) expect(clock.now() % 100).toBeLessThanOrEqual(1)
    }
    clock.advance(1000)
    expect(takeAll(budgets, 'settings')).toBe(10)
  })

  it('one kind is nothing to another, nor one connection to another', () => {
    const clock = new FakeClock()
    const [first, second] = [new Budgets(clock), new Budgets(clock)]
    takeAll(first, 'settings')
    expect(first.take('pings')).toBe(true)
    expect(second.take('settings')).toBe(true)
  })
})
