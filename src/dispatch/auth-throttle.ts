/**
 * Repeated authentication failures cost their source address time. Only the answer to a failure waits: a valid user
 * behind the same address is never held up, and the session stays open.
 */
import type { Clock } from '../clock.ts'
import { customerOf, isLoopback } from '../wire/ip-kind.ts'

interface AuthThrottleOptions {
  /** Failures allowed to one address before it must wait; 0 turns the limit off. */
  readonly maxFailures: number
  /** An address gains one more failure after this time. */
  readonly refillMs: number
}

/**
 * No answer waits longer. A client gives up on a health check after 7 s (specification 8.4): if the answer came later,
 * it would never learn that its password is wrong, and connect again and again.
 */
const MAX_DELAY_MS = 5000
/** How many addresses are remembered; the one least recently seen is forgotten first. */
const MAX_ADDRESSES = 16_384

interface Bucket {
  tokens: number
  refilledAt: number
}

export class AuthThrottle {
  readonly #options: AuthThrottleOptions
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  constructor(options: AuthThrottleOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
  }

  /** Counts a failure from `address` and returns how many milliseconds its answer must wait. */
  onFailure(address: string): number {
    const { maxFailures, refillMs } = this.#options
    // Local proxies and tests come from loopback: one address for everybody.
    if (maxFailures === 0 || isLoopback(address)) return 0
    const bucket = this.#bucketOf(customerOf(address))
    // A debt above the longest delay would only make others behind the same address wait after the guessing has
    // stopped.
    bucket.tokens = Math.max(bucket.tokens - 1, -Math.ceil(MAX_DELAY_MS / refillMs))
    return bucket.tokens >= 0 ? 0 : Math.min(-bucket.tokens * refillMs, MAX_DELAY_MS)
  }

  #bucketOf(source: string): Bucket {
    const { maxFailures, refillMs } = this.#options
    const now = this.#clock.now()
    const known = this.#buckets.get(source)
    const gained = known === undefined ? maxFailures : (now - known.refilledAt) / refillMs
    const bucket = { tokens: Math.min(maxFailures, (known?.tokens ?? 0) + gained), refilledAt: now }
    this.#buckets.delete(source)
    this.#buckets.set(source, bucket)
    if (this.#buckets.size > MAX_ADDRESSES) this.#forgetOldest()
    return bucket
  }

  #forgetOldest(): void {
    const oldest = this.#buckets.keys().next().value
    if (oldest !== undefined) this.#buckets.delete(oldest)
  }
}
