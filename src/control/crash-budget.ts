/** How many lanes may die in a while before it must be taken for a fault that starting them again does not cure. */
import type { Clock } from '../clock.ts'

const MAX_CRASHES = 3
const PERIOD_MS = 60_000

export class CrashBudget {
  readonly #clock: Clock
  #crashedAtMs: number[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts one; false when that was one too many. */
  spend(): boolean {
    const now = this.#clock.now()
    this.#crashedAtMs = [...this.#crashedAtMs.filter((at) => now - at < PERIOD_MS), now]
    return this.#crashedAtMs.length < MAX_CRASHES
  }
}
