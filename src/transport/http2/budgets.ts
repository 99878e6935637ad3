/**
 * What a client may make us do without getting any work done for it (`docs/limits.md`): frames that carry nothing are
 * cheap to send, and must not be so without end. One object per connection.
 */
import type { Clock } from '../../clock.ts'
import type { TotalLabel } from '../../counters.ts'

/** Why a session was ended. */
export type Http2Limit = TotalLabel<'http2_limits_met'>

/** How many at once, and how many more per second. */
interface Rate {
  readonly burst: number
  readonly perSecond: number
}

/** Clients end every tunnel with RST_STREAM, so resets are ordinary here. */
const RESETS: Rate = { burst: 5000, perSecond: 1000 }
/** They cost a microsecond each. */
const CHEAP: Rate = { burst: 10_000, perSecond: 1000 }

const RATES = {
  /** Streams that it opens, whatever becomes of them: each is about 100 microseconds of work. */
  streams: { burst: 20_000, perSecond: 10_000 },
  /** Streams that the client resets (CVE-2023-44487). */
  client_resets: RESETS,
  /** Streams that it makes us reset by its errors (CVE-2025-8671). */
  own_resets: RESETS,
  settings: { burst: 100, perSecond: 10 },
  pings: CHEAP,
  unknown_frames: CHEAP,
  /** DATA without content that ends nothing. */
  empty_data: CHEAP,
  /** DATA that is hardly longer than its frame head: somebody who types sends it, and nobody this fast. */
  tiny_data: { burst: 200_000, perSecond: 50_000 },
  /** A download at 1 GB/s takes 60,000 in a second. */
  window_updates: { burst: 200_000, perSecond: 100_000 },
} as const satisfies Partial<Record<Http2Limit, Rate>>

export type BudgetName = keyof typeof RATES

class Budget {
  readonly #rate: Rate
  #left: number
  #filledAt: number

  constructor(rate: Rate, now: number) {
    this.#rate = rate
    this.#left = rate.burst
    this.#filledAt = now
  }

  /** The clock is asked only when nothing is left: this runs once per frame. */
  take(clock: Clock): boolean {
    if (this.#left < 1) {
      const now = clock.now()
      const { burst, perSecond } = this.#rate
      this.#left = Math.min(burst, this.#left + ((now - this.#filledAt) / 1000) * perSecond)
      this.#filledAt = now
      if (this.#left < 1) return false
    }
    this.#left--
    return true
  }
}

export class Budgets {
  readonly #clock: Clock
  readonly #startedAt: number
  /** Made when they are first needed: most connections need two. */
  readonly #budgets: { [name in BudgetName]?: Budget } = {}

  constructor(clock: Clock) {
    this.#clock = clock
    this.#startedAt = clock.now()
  }

  /** Uses one up; false when there is none. */
  take(name: BudgetName): boolean {
    const budget = (this.#budgets[name] ??= new Budget(RATES[name], this.#startedAt))
    return budget.take(this.#clock)
  }
}
