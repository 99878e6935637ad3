/**
 * Idle limits of many streams on one timer. Nothing is touched when bytes move: each watched stream reports how much it
 * has moved so far, and a tick compares that with its previous report.
 */
import type { Clock, Timer } from '../clock.ts'

const DEFAULT_TICK_MS = 1000
/** How often a stream is checked within its limit: it outlives the limit by at most an eighth. */
const LOOKS_PER_TIMEOUT = 8

export interface Watched {
  /** A number that changes whenever something moves. Called rarely; must be cheap. */
  activity(): number
  /** {@link activity} has stood still for the whole limit; the watch is over. */
  onIdle(): void
}

export interface IdleWatch {
  /** Idempotent. `onIdle` is not called afterwards. */
  cancel(): void
}

/** Whole milliseconds, because V8 gives every other number an allocation of its own. */
class Entry implements IdleWatch {
  nextLookAt: number
  readonly #entries: Entries
  readonly #watched: Watched
  readonly #timeoutMs: number
  #seen: number
  #changedAt: number

  constructor(entries: Entries, timeoutMs: number, watched: Watched, now: number) {
    this.#entries = entries
    this.#watched = watched
    this.#timeoutMs = timeoutMs
    this.#seen = watched.activity()
    // Rounded up here and down when it is compared: never early.
    this.#changedAt = Math.ceil(now)
    this.nextLookAt = this.#changedAt + this.#lookEveryMs()
  }

  look(now: number): void {
    this.nextLookAt = Math.ceil(now) + this.#lookEveryMs()
    const seen = this.#watched.activity()
    if (seen !== this.#seen) {
      this.#seen = seen
      this.#changedAt = Math.ceil(now)
    } else if (Math.floor(now) - this.#changedAt >= this.#timeoutMs) {
      this.cancel()
      this.#watched.onIdle()
    }
  }

  cancel(): void {
    this.#entries.delete(this)
  }

  #lookEveryMs(): number {
    return Math.floor(this.#timeoutMs / LOOKS_PER_TIMEOUT)
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
   * Calls `watched.onIdle()` once when `activity()` has returned the same number for `timeoutMs`: never earlier, and
   * later by at most an eighth of it plus a tick.
   */
  watch(timeoutMs: number, watched: Watched): IdleWatch {
    const entry = new Entry(this.#entries, timeoutMs, watched, this.#clock.now())
    this.#entries.add(entry)
    return entry
  }
}
