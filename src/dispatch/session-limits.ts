/** How many sessions a user holds (`max_http2_conns`, `max_http3_conns`). */
import { EndpointError } from '../errors.ts'
import type { ProtocolLabel } from '../contract/session.ts'

/** What the limits need to know of a user. */
export interface LimitedUser {
  readonly name: string
  readonly maxTcpSessions: number | null
  readonly maxQuicSessions: number | null
}

const RETRY_AFTER_SECS = 30

export class SessionLimits {
  readonly #held = new Map<string, number>()

  /**
   * Takes a place for one session of `user`.
   * @returns gives it back; to be called once.
   * @throws EndpointError `limit_exceeded` when all are taken.
   */
  acquire(user: LimitedUser, protocol: ProtocolLabel): () => void {
    const quic = protocol === 'HTTP3'
    const limit = quic ? user.maxQuicSessions : user.maxTcpSessions
    const key = `${quic ? 'quic' : 'tcp'} ${user.name}`
    const held = this.#held.get(key) ?? 0
    if (limit !== null && held >= limit) {
      throw new EndpointError('limit_exceeded', `user holds ${held} of ${limit} sessions`, {
        retryAfterSecs: RETRY_AFTER_SECS,
      })
    }
    this.#held.set(key, held + 1)
    return () => this.#release(key)
  }

  #release(key: string): void {
    const held = (this.#held.get(key) ?? 1) - 1
    if (held === 0) this.#held.delete(key)
    else this.#held.set(key, held)
  }
}
