/** How a request ends that gets nothing else: the answer, the count and the line in the log. */
import type { Counters } from '../counters.ts'
import { isRefusal } from '../errors.ts'
import type { User } from '../contract/user.ts'
import type { Exchange } from '../contract/exchange.ts'
import type { DispatchLog, Why } from './dispatch-log.ts'
import { refusalOf } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import type { Visit } from './session-record.ts'

/** The client needs no answer any more. */
function hasLeft(exchange: Exchange): boolean {
  return (exchange.cancellation ?? exchange.signal).aborted
}

export class Answers {
  readonly #counters: Counters
  readonly #log: DispatchLog

  constructor(counters: Counters, log: DispatchLog) {
    this.#counters = counters
    this.#log = log
  }

  /** To somebody who has authenticated. */
  refuseVisit({ guest, exchange }: Visit, error: unknown): void {
    // A client that is gone needs no answer, and a failure caused by its leaving is not a refusal.
    if (!hasLeft(exchange))
      this.refuse(exchange, refusalOf(error, exchange.authority), { user: guest.user, error })
    else if (!isRefusal(error)) this.#log.onFault(exchange, guest.user, error)
  }

  refuse(exchange: Exchange, refusal: Refusal, why: Why): void {
    if (hasLeft(exchange)) return
    exchange.refuse(refusal.status, refusal.headers)
    this.report(exchange, refusal, why)
  }

  /** For what is answered elsewhere. */
  report(exchange: Exchange, refusal: Pick<Refusal, 'code'> & Partial<Refusal>, why: Why): void {
    this.#counters.count('refused_requests', refusal.code)
    this.#log.onRefusal(exchange, refusal, why)
  }

  /** A fault of ours costs the exchange that it happens to: thrown on, it would end the lane. */
  giveUp(exchange: Exchange, user: User | undefined, error: unknown): void {
    this.#log.onFault(exchange, user, error)
    exchange.reset('internal_error')
  }
}
