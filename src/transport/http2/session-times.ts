/**
 * How long a session may wait. For visitors the times are nginx's: `client_header_timeout` from the start to the first
 * request, `keepalive_timeout` from the end of the last stream, `send_timeout` for a client that takes nothing. Users
 * are given more.
 */
import type { Output } from './output.ts'

const FIRST_REQUEST_MS = 60_000
const KEEPALIVE_MS = 75_000
const VISITOR_STALL_MS = 60_000
const USER_STALL_MS = 300_000

export class SessionTimes {
  #isTrusted = false
  /** When a visitor's time without a stream is over. */
  #visitEndsAt: number
  /** How much has been sent, and since when it has not changed while something waited. */
  #sentBytes = 0
  #stalledSince: number | undefined

  constructor(now: number) {
    this.#visitEndsAt = now + FIRST_REQUEST_MS
  }

  trust(): void {
    this.#isTrusted = true
  }

  onRequest(): void {
    this.#visitEndsAt = Infinity
  }

  /** No stream is left. */
  onIdle(now: number): void {
    this.#visitEndsAt = now + KEEPALIVE_MS
  }

  due(now: number, output: Output): 'visit_over' | 'stalled' | undefined {
    if (!this.#isTrusted && now >= this.#visitEndsAt) return 'visit_over'
    return this.#hasStalled(now, output) ? 'stalled' : undefined
  }

  #hasStalled(now: number, output: Output): boolean {
    if (output.isEmpty || output.sentBytes !== this.#sentBytes) {
      this.#sentBytes = output.sentBytes
      this.#stalledSince = undefined
      return false
    }
    this.#stalledSince ??= now
    return now - this.#stalledSince >= (this.#isTrusted ? USER_STALL_MS : VISITOR_STALL_MS)
  }
}
