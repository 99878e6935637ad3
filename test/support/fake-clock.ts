/** Time that moves only when a test says so. */
import type { Clock, Timer } from '../../src/clock.ts'

interface Entry {
  dueAt: number
  readonly periodMs: number | undefined
  readonly run: () => void
}

export class FakeClock implements Clock {
  #now = 0
  readonly #entries = new Set<Entry>()

  /** Timers that are still set, for leak checks. */
  get pending(): number {
    return this.#entries.size
  }

  now(): number {
    return this.#now
  }

  wall(): number {
    return 1_700_000_000_000 + this.#now
  }

  after(delayMs: number, run: () => void): Timer {
    return this.#add({ dueAt: this.#now + delayMs, periodMs: undefined, run })
  }

  every(periodMs: number, run: () => void): Timer {
    return this.#add({ dueAt: this.#now + periodMs, periodMs, run })
  }

  /** Runs everything that becomes due, in order. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const next = [...this.#entries]
        .filter((entry) => entry.dueAt <= end)
        .toSorted((a, b) => a.dueAt - b.dueAt)[0]
      if (next === undefined) break
      this.#now = next.dueAt
      if (next.periodMs === undefined) this.#entries.delete(next)
      else next.dueAt += next.periodMs
      next.run()
    }
    this.#now = end
  }

  #add(entry: Entry): Timer {
    this.#entries.add(entry)
    return { cancel: () => void this.#entries.delete(entry) }
  }
}
