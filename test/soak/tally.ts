/** How the operations of a soak ended. */

const OPERATION_LIMIT_MS = 60_000
/** How long after a lane has failed its clients may still find out. */
const LOSS_PERIOD_MS = 10_000

export class Tally {
  /** By name. */
  readonly done = new Map<string, number>()
  /** What failed, by name and reason. */
  readonly failures = new Map<string, number>()
  /** What ended with a lane that failed. */
  lost = 0
  readonly #laneFailuresMs: number[] = []
  readonly #tell: (line: string) => void

  /** @param tell hears of each failure at once. */
  constructor(tell: (line: string) => void) {
    this.#tell = tell
  }

  get failed(): number {
    return sum(this.failures)
  }

  get succeeded(): number {
    return sum(this.done)
  }

  /** Whatever is under way now may be lost. */
  onLaneFailure(): void {
    this.#laneFailuresMs.push(performance.now())
  }

  /** Never rejects; false when it failed. */
  async run(name: string, operation: () => Promise<void>): Promise<boolean> {
    const beganMs = performance.now()
    const { promise: late, reject } = Promise.withResolvers<never>()
    const limit = setTimeout(() => reject(new Error('took too long')), OPERATION_LIMIT_MS)
    try {
      await Promise.race([operation(), late])
      add(this.done, name)
      return true
    } catch (error) {
      const isLost = this.#laneFailuresMs.some(
        (atMs) => beganMs < atMs + LOSS_PERIOD_MS && performance.now() > atMs,
      )
      if (isLost) this.lost += 1
      else this.#onFailure(`${name}: ${error instanceof Error ? error.message : String(error)}`)
      return false
    } finally {
      clearTimeout(limit)
    }
  }

  #onFailure(what: string): void {
    add(this.failures, what)
    this.#tell(`failed: ${what}`)
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0)
}
