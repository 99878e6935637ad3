/** What one user may have at a time: sessions (`max_http2_conns`, `max_http3_conns`) and tunnels. */
import type { Counters } from '../counters.ts'
import { EndpointError } from '../errors.ts'
import type { ProtocolLabel } from '../contract/session.ts'
import type { User } from '../contract/user.ts'

export interface UserLimitsOptions {
  /** Tunnels and forwarded requests of one user in all of that user's sessions; each needs at least one descriptor. */
  readonly maxTunnelsPerUser: number
}

export class UserLimits {
  readonly #options: UserLimitsOptions
  readonly #counters: Counters
  /** How many each user holds, by name. */
  readonly #held = {
    quic: new Map<string, number>(),
    tcp: new Map<string, number>(),
    tunnels: new Map<string, number>(),
  }

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
    return this.#take(user, quic ? this.#held.quic : this.#held.tcp, limit ?? Infinity, 'sessions')
  }

  /** The same for one tunnel. */
  takeTunnel(user: User): () => void {
    return this.#take(user, this.#held.tunnels, this.#options.maxTunnelsPerUser, 'tunnels')
  }

  #take({ name }: User, held: Map<string, number>, limit: number, what: 'sessions' | 'tunnels'): () => void {
    const count = held.get(name) ?? 0
    if (count >= limit) {
      this.#counters.count('user_limits_met', what)
      throw new EndpointError('limit_exceeded', `user holds ${count} of ${limit} ${what}`)
    }
    held.set(name, count + 1)
    return () => release(held, name)
  }
}

function release(held: Map<string, number>, name: string): void {
  const left = (held.get(name) ?? 1) - 1
  if (left === 0) held.delete(name)
  else held.set(name, left)
}
