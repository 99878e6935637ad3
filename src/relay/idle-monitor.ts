/**
 * Idle limits of many streams on one timer. Nothing is touched when bytes move: each watched stream reports how much it
 * has moved so far, and a tick compares that with its previous report.
 */
import type { Clock, Timer } from '../clock.ts'

const DEFAULT_TICK_MS = 1000
/** How often a stream is checked within its limit: it outlives the limit by at most an eighth. */
const LOOKS_PER_TIMEOUT = 8

export interface IdleWatch {
  /** Idempotent. `onIdle` is not called afterwards. */
  cancel(): void
}

class Entry implements IdleWatch {
  readonly lookEveryMs: number
  nextLookAt: number
  readonly #entries: Entries
  readonly #timeoutMs: number
  readonly #activity: () => number
  readonly #onIdle: () => void
  #seen: number
  #changedAt: number

  constructor(entries: Entries, timeoutMs: number, activity: () => number, onIdle: () => void, now: number) {
    this.lookEveryMs = timeoutMs / LOOKS_PER_TIMEOUT
    this.nextLookAt = now + this.lookEveryMs
    this.#entries = entries
    this.#timeoutMs = timeoutMs
    this.#activity = activity
    this.#onIdle = onIdle
    this.#seen = activity()
    this.#changedAt = now
  }

  look(now: number): void {
    this.nextLookAt = now + this.lookEveryMs
    const seen = this.#activity()
    if (seen !== this.#seen) {
      this.#seen = seen
      this.#changedAt = now
    } else if (now - this.#changedAt >= this.#timeoutMs) {
      this.cancel()
      this.#onIdle()
    }
  }

  cancel(): void {
    this.#entries.delete(this)
  }
}

/** The watched streams; the tick runs only while there are any. */
class Entries {
  readonly #clock: Clock
  readonly #tickMs: number
  readonly #entries = new Set<Entry>()
  #ticker: Timer | undefined

  constructor(clock: Clock, tickMs: number) {
    this.#clock = clock
    this.#tickMs = tickMs
  }

  get size(): number {
    return this.#entries.size
  }

  add(entry: Entry): void {
    this.#entries.add(entry)
    this.#ticker ??= this.#clock.every(this.#tickMs, () => {
      const now = this.#clock.now()
      for (const each of this.#entries) if (now >= each.nextLookAt) each.look(now)
    })
  }

  delete(entry: Entry): void {
    this.#entries.delete(entry)
    if (this.#entries.size > 0) return
    this.#ticker?.cancel()
    this.#ticker = undefined
  }
}

export class IdleMonitor {
  readonly #clock: Clock
  readonly #entries: Entries

  constructor(clock: Clock, options: { tickMs?: number } = {}) {
    this.#clock = clock
    this.#entries = new Entries(clock, options.tickMs ?? DEFAULT_TICK_MS)
  }

  /** Streams being watched. */
  get size(): number {
    return this.#entries.size
  }

  /**
   * Calls `onIdle` once when `activity()` has returned the same number for `timeoutMs`: never earlier, and later by at
   * most an eighth of it plus a tick. `activity` is called rarely and must be cheap.
   */
  watch(timeoutMs: number, activity: () => number, onIdle: () => void): IdleWatch {
    const entry = new Entry(this.#entries, timeoutMs, activity, onIdle, this.#clock.now())
    this.#entries.add(entry)
    return entry
  }
}
