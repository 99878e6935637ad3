/**
 * Repeated authentication failures cost their source address time. Only the answer to a failure waits: a valid user
 * behind the same address is never held up, and the session stays open.
 */
import type { Clock } from '../clock.ts'
import { isLoopback } from '../wire/ip-kind.ts'

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

/** The failures of all lanes, by address; an IPv6 address counts by its /64 (`users/address-table.ts`). */
interface FailureRecord {
  /** Takes a token, down to `floor`, and returns how many are left. */
  fail(
    address: string,
    bucket: { readonly size: number; readonly refillMs: number; readonly floor: number },
    nowMs: number,
  ): number
}

export class AuthThrottle {
  readonly #options: AuthThrottleOptions
  readonly #clock: Clock
  readonly #failures: FailureRecord

  constructor(options: AuthThrottleOptions, { clock, failures }: { clock: Clock; failures: FailureRecord }) {
    this.#options = options
    this.#clock = clock
    this.#failures = failures
  }

  /** Counts a failure from `address` and returns how many milliseconds its answer must wait. */
  onFailure(address: string): number {
    const { maxFailures, refillMs } = this.#options
    // Local proxies and tests come from loopback: one address for everybody.
    if (maxFailures === 0 || isLoopback(address)) return 0
    // A debt above the longest delay would only make others behind the same address wait after the guessing has
    // stopped.
    const bucket = { size: maxFailures, refillMs, floor: -Math.ceil(MAX_DELAY_MS / refillMs) }
    const tokens = this.#failures.fail(address, bucket, this.#clock.now())
    return tokens >= 0 ? 0 : Math.min(-tokens * refillMs, MAX_DELAY_MS)
  }
}
