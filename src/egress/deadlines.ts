/**
 * The time limit of all dials of an egress on one timer: since it is the same for all of them, the one that began first
 * is the first that is due.
 */
import type { Clock, Timer } from '../clock.ts'

export interface Limited {
  /** The limit is over. */
  onDeadline(): void
}

export class Deadlines {
  readonly limitMs: number
  readonly #clock: Clock
  /** When each is due, the first one first. */
  readonly #dueAt = new Map<Limited, number>()
  #timer: Timer | undefined

  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock
    this.limitMs = limitMs
  }

  add(item: Limited): void {
    // A whole number, because V8 gives every other one an allocation of its own.
    this.#dueAt.set(item, Math.ceil(this.#clock.now() + this.limitMs))
    this.#timer ??= this.#clock.after(this.limitMs, () => this.#onTimer())
  }

  /** Idempotent. */
  delete(item: Limited): void {
    if (!this.#dueAt.delete(item) || this.#dueAt.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #onTimer(): void {
    this.#timer = undefined
    for (const [item, dueAt] of this.#dueAt) {
      const remainingMs = dueAt - this.#clock.now()
      if (remainingMs > 0) return this.#wait(remainingMs)
      this.#dueAt.delete(item)
      item.onDeadline()
    }
  }

  #wait(ms: number): void {
    // One that was added meanwhile has a timer of its own, for later.
    this.#timer?.cancel()
    this.#timer = this.#clock.after(Math.ceil(ms), () => this.#onTimer())
  }
}
