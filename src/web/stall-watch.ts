/** Finds exchanges that move no bytes: one tick for all of them, a comparison each. */
import type { Clock, Timer } from '../clock.ts'

const TICK_MS = 1000

export interface Watched {
  /** Any number that changes when bytes move. */
  progress(): number
  /** How long it may stay the same, now. */
  limitMs(): number
  /** Called once, when it did; the watch on it has ended by then. */
  onStall(): void
}

interface Entry {
  seen: number
  atMs: number
}

export class StallWatch {
  readonly #clock: Clock
  readonly #entries = new Map<Watched, Entry>()
  #tick: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#entries.size
  }

  add(watched: Watched): void {
    this.#entries.set(watched, { seen: watched.progress(), atMs: this.#clock.now() })
    this.#tick ??= this.#clock.every(TICK_MS, () => this.#check())
  }

  /** Idempotent. */
  remove(watched: Watched): void {
    this.#entries.delete(watched)
    if (this.#entries.size > 0) return
    this.#tick?.cancel()
    this.#tick = undefined
  }

  #check(): void {
    const now = this.#clock.now()
    for (const [watched, entry] of this.#entries) {
      const progress = watched.progress()
      if (progress !== entry.seen) {
        entry.seen = progress
        entry.atMs = now
      } else if (now - entry.atMs >= watched.limitMs()) {
        this.remove(watched)
        watched.onStall()
      }
    }
  }
}
