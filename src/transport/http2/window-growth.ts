/**
 * How much a client may send on one stream before its target has taken it: as much as is under way on a path of this
 * bandwidth and delay, so that an upload is not held back, and no more, since all of it may have to be kept. The delay is
 * measured with PING while there are uploads.
 */
import type { Clock } from '../../clock.ts'
import type { Http2Stream } from './stream.ts'

/** A stream's window never becomes larger. */
const MAX_STREAM_WINDOW_BYTES = 8_388_608
/** What the streams of one session, and those of all, may have beyond their initial windows. */
const MAX_SESSION_GROWTH_BYTES = 16_777_216
const MAX_GROWTH_BYTES = 134_217_728
/** What one session, and all of a lane, may hold that targets have not taken. When all hold too much, each has this much. */
const MAX_SESSION_HELD_BYTES = 33_554_432
const MAX_HELD_BYTES = 268_435_456
const SESSION_SHARE_BYTES = 1_048_576
/** How often the delay is measured while there are uploads. */
const MEASURE_EVERY_MS = 250

/** What the uploads of all sessions of a lane may hold in memory. */
export class UploadBudget {
  /** Received, and not taken by a target. */
  heldBytes = 0
  /** What keeping it needs beyond that. */
  overheadBytes = 0
  #left = MAX_GROWTH_BYTES

  /** Whether a session that holds this much must not receive any more. */
  isExceededBy(sessionBytes: number): boolean {
    if (sessionBytes > MAX_SESSION_HELD_BYTES) return true
    return this.heldBytes + this.overheadBytes > MAX_HELD_BYTES && sessionBytes > SESSION_SHARE_BYTES
  }

  take(bytes: number): number {
    const taken = Math.min(bytes, this.#left)
    this.#left -= taken
    return taken
  }

  give(bytes: number): void {
    this.#left += bytes
  }
}

interface Growth {
  bytes: number
  /** When the window was last given back. */
  updatedAt: number
}

export class WindowGrowth {
  readonly #clock: Clock
  readonly #budget: UploadBudget
  readonly #ping: () => void
  /** Only streams that have uploaded enough to need a second window. */
  readonly #growths = new Map<Http2Stream, Growth>()
  #enabled = false
  #left = MAX_SESSION_GROWTH_BYTES
  /** The latest round trip; undefined until one was measured. */
  #roundTripMs: number | undefined
  #pingedAt: number | undefined
  #measuredAt = -Infinity

  /** @param ping sends a PING whose acknowledgement is told to {@link onPong}. */
  constructor(clock: Clock, budget: UploadBudget, ping: () => void) {
    this.#clock = clock
    this.#budget = budget
    this.#ping = ping
  }

  /** Nothing grows for clients that have not authenticated. */
  enable(): void {
    this.#enabled = true
  }

  onPong(): void {
    if (this.#pingedAt === undefined) return
    this.#measuredAt = this.#clock.now()
    this.#roundTripMs = this.#measuredAt - this.#pingedAt
    this.#pingedAt = undefined
  }

  /** A quarter of the stream's window has been used up and is about to be given back: by how much should it grow? */
  growthOf(stream: Http2Stream, usedBytes: number): number {
    if (!this.#enabled) return 0
    const now = this.#clock.now()
    this.#measure(now)
    const growth = this.#growths.get(stream)
    if (growth === undefined) {
      this.#growths.set(stream, { bytes: 0, updatedAt: now })
      return 0
    }
    const elapsedMs = now - growth.updatedAt
    growth.updatedAt = now
    if (this.#roundTripMs === undefined) return 0
    const underWay = elapsedMs > 0 ? (usedBytes / elapsedMs) * this.#roundTripMs : Infinity
    // With less than half of the window under way, the window is not what holds the upload back.
    if (underWay < stream.receiveTarget / 2) return 0
    return this.#grow(stream, growth)
  }

  onClosed(stream: Http2Stream): void {
    const growth = this.#growths.get(stream)
    if (growth === undefined) return
    this.#growths.delete(stream)
    this.#left += growth.bytes
    this.#budget.give(growth.bytes)
  }

  /** Doubles the window as far as the budgets allow. */
  #grow(stream: Http2Stream, growth: Growth): number {
    const wanted = Math.min(stream.receiveTarget, MAX_STREAM_WINDOW_BYTES - stream.receiveTarget, this.#left)
    const bytes = wanted > 0 ? this.#budget.take(wanted) : 0
    growth.bytes += bytes
    this.#left -= bytes
    return bytes
  }

  #measure(now: number): void {
    if (this.#pingedAt !== undefined || now - this.#measuredAt < MEASURE_EVERY_MS) return
    this.#pingedAt = now
    this.#ping()
  }
}
