/**
 * Answers that wait (`auth-throttle.ts`). Strangers decide how many there are, so their number is bounded, they are
 * dropped when their client leaves, and nothing of the request is kept except what the answer needs.
 */
import type { Clock } from '../clock.ts'
import type { Counters } from '../counters.ts'
import type { Exchange } from '../contract/exchange.ts'
import type { Session } from '../contract/session.ts'

/** Enough for a client that opens everything at once with a wrong password. */
const MAX_PER_SESSION = 8
const MAX_IN_ALL = 512

export class DelayedAnswers {
  readonly #clock: Clock
  readonly #counters: Counters
  readonly #perSession = new Map<Session, number>()
  #waiting = 0

  constructor(clock: Clock, counters: Counters) {
    this.#clock = clock
    this.#counters = counters
    counters.gauge('auth_waiting', () => this.#waiting)
  }

  /**
   * Calls `answer` after `delayMs`; never if the client leaves before that, and at once if too many are waiting
   * already.
   */
  delay(exchange: Exchange, delayMs: number, answer: () => void): void {
    const { session, signal } = exchange
    const held = this.#perSession.get(session) ?? 0
    if (signal.aborted) return
    if (held >= MAX_PER_SESSION || this.#waiting >= MAX_IN_ALL) {
      this.#counters.count('auth_not_delayed', held >= MAX_PER_SESSION ? 'session' : 'total')
      return answer()
    }
    this.#counters.count('auth_delayed')
    this.#perSession.set(session, held + 1)
    this.#waiting++
    const timer = this.#clock.after(delayMs, () => {
      signal.removeEventListener('abort', onAbort)
      this.#settle(session)
      answer()
    })
    const onAbort = (): void => {
      timer.cancel()
      this.#settle(session)
    }
    signal.addEventListener('abort', onAbort, { once: true })
  }

  #settle(session: Session): void {
    this.#waiting--
    const held = (this.#perSession.get(session) ?? 1) - 1
    if (held > 0) this.#perSession.set(session, held)
    else this.#perSession.delete(session)
  }
}
