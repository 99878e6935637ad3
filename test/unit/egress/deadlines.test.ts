/** The time limit of many dials on one timer. */
import { expect, it } from 'vitest'
import { Deadlines } from '../../../src/egress/deadlines.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const LIMIT_MS = 1000

class Item {
  readonly overAt: number[] = []
  readonly #clock: FakeClock

  constructor(clock: FakeClock) {
    this.#clock = clock
  }

  onDeadline(): void {
    this.overAt.push(this.#clock.now())
  }
}

function stage(): { clock: FakeClock; deadlines: Deadlines; item: () => Item } {
  const clock = new FakeClock()
  return { clock, deadlines: new Deadlines(clock, LIMIT_MS), item: () => new Item(clock) }
}

it('each is told once, after the whole limit, in the order in which they came', () => {
  const { clock, deadlines, item } = stage()
  const items = [item(), item(), item()]
  const start = clock.now()
  for (const each of items) {
    deadlines.add(each)
    clock.advance(300)
  }
  clock.advance(5 * LIMIT_MS)
  expect(items.map(({ overAt }) => overAt.map((at) => at - start))).toEqual([[1000], [1300], [1600]])
})

it('one that is taken out is not told, and the others are told in time', () => {
  const { clock, deadlines, item } = stage()
  const [first, second] = [item(), item()]
  const start = clock.now()
  deadlines.add(first)
  clock.advance(500)
  deadlines.add(second)
  deadlines.delete(first)
  deadlines.delete(first)
  clock.advance(5 * LIMIT_MS)
  expect(first.overAt).toEqual([])
  expect(second.overAt.map((at) => at - start)).toEqual([1500])
})

it('no timer runs while there is none', () => {
  const { clock, deadlines, item } = stage()
  const only = item()
  deadlines.add(only)
  expect(clock.pending).toBe(1)
  deadlines.delete(only)
  expect(clock.pending).toBe(0)
})

it('one that is added while another is told has the whole limit', () => {
  const { clock, deadlines, item } = stage()
  const next = item()
  deadlines.add({ onDeadline: () => deadlines.add(next) })
  const start = clock.now()
  clock.advance(5 * LIMIT_MS)
  expect(next.overAt.map((at) => at - start)).toEqual([2 * LIMIT_MS])
})

it('one that is added while another is told does not delay those before it', () => {
  const { clock, deadlines, item } = stage()
  const [second, third] = [item(), item()]
  const start = clock.now()
  deadlines.add({ onDeadline: () => deadlines.add(third) })
  clock.advance(500)
  deadlines.add(second)
  clock.advance(5 * LIMIT_MS)
  expect(second.overAt.map((at) => at - start)).toEqual([1500])
  expect(third.overAt.map((at) => at - start)).toEqual([2000])
})
