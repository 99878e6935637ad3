/**
 * Says in the log that connections are closed because a limit is reached: whoever is locked out by one can otherwise not
 * tell why. Rate limited, because others decide how often that happens.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { LimitReason } from './connection-limits.ts'

const PERIOD_MS = 60_000

export class LimitWarnings {
  readonly #clock: Clock
  readonly #log: Log
  readonly #reasons = new Map<LimitReason, { nextMs: number; closed: number }>()

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  /** A connection is closed for this reason. Each has a line at most once a minute, with the number since the last. */
  note(reason: LimitReason): void {
    const state = this.#reasons.get(reason) ?? { nextMs: -Infinity, closed: 0 }
    this.#reasons.set(reason, state)
    state.closed += 1
    const now = this.#clock.now()
    if (now < state.nextMs) return
    this.#log.warn(
      { reason, connections: state.closed },
      'connections are closed because a limit of [culvert.edge] is reached',
    )
    state.nextMs = now + PERIOD_MS
    state.closed = 0
  }
}
