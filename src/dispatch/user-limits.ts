/** What one user may have at a time: sessions (`max_http2_conns`, `max_http3_conns`) and tunnels. */
import type { Counters } from '../counters.ts'
import { EndpointError } from '../errors.ts'
import type { ProtocolLabel } from '../contract/session.ts'
import type { User } from '../contract/user.ts'

export interface UserLimitsOptions {
  /** Tunnels and forwarded requests of one user in all of that user's sessions; each needs at least one descriptor. */
  readonly maxTunnelsPerUser: number
}

const RETRY_AFTER_SECS = 30

export class UserLimits {
  readonly #options: UserLimitsOptions
  readonly #counters: Counters
  readonly #held = new Map<string, number>()

  constructor(options: UserLimitsOptions, counters: Counters) {
    this.#options = options
    this.#counters = counters
  }

  /**
   * Takes a place for one session of `user`.
   * @returns a function that gives it back; call it once.
   * @throws EndpointError `limit_exceeded` when all are taken.
   */
  takeSession(user: User, protocol: ProtocolLabel): () => void {
    const quic = protocol === 'HTTP3'
    const limit = quic ? user.maxQuicSessions : user.maxTcpSessions
    return this.#take(`${quic ? 'quic' : 'tcp'} ${user.name}`, limit ?? Infinity, 'sessions')
  }

  /** The same for one tunnel. */
  takeTunnel(user: User): () => void {
    return this.#take(`tunnel ${user.name}`, this.#options.maxTunnelsPerUser, 'tunnels')
  }

  #take(key: string, limit: number, what: 'sessions' | 'tunnels'): () => void {
    const held = this.#held.get(key) ?? 0
    if (held >= limit) {
      this.#counters.count('user_limits_met', what)
      throw new EndpointError('limit_exceeded', `user holds ${held} of ${limit} ${what}`, {
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
