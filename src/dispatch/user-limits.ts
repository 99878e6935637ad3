/**
 * What one user may have at a time, over all lanes: sessions (`max_http2_conns`, `max_http3_conns`) and tunnels. What
 * tunnels have moved is counted here as well, because it belongs to the same user.
 */
import type { Counters } from '../counters.ts'
import { EndpointError } from '../errors.ts'
import type { ProtocolLabel } from '../contract/session.ts'
import type { User } from '../contract/user.ts'

export interface UserLimitsOptions {
  /** Tunnels and forwarded requests of one user in all of that user's sessions; each needs at least one descriptor. */
  readonly maxTunnelsPerUser: number
}

type Place = 'tcpSessions' | 'quicSessions' | 'tunnels'

/** What users hold in all lanes (`users/ledger.ts`). */
export interface UserSlots {
  of(user: string): UserSlot
}

interface UserSlot {
  /** False when all of `limit` places are taken. */
  take(what: Place, limit: number): boolean
  give(what: Place): void
  addBytes(uplink: number, downlink: number): void
}

/** The place of one tunnel among those of its user. */
export class TunnelPlace {
  readonly #slot: UserSlot

  constructor(slot: UserSlot) {
    this.#slot = slot
  }

  countBytes(uplink: number, downlink: number): void {
    this.#slot.addBytes(uplink, downlink)
  }

  /** Gives it back; call it once. */
  leave(): void {
    this.#slot.give('tunnels')
  }
}

export class UserLimits {
  readonly #options: UserLimitsOptions
  readonly #counters: Counters
  readonly #slots: UserSlots

  constructor(options: UserLimitsOptions, { counters, slots }: { counters: Counters; slots: UserSlots }) {
    this.#options = options
    this.#counters = counters
    this.#slots = slots
  }

  /**
   * Takes a place for one session of `user`.
   * @returns a function that gives it back; call it once.
   * @throws EndpointError `limit_exceeded` when all are taken.
   */
  takeSession(user: User, protocol: ProtocolLabel): () => void {
    const quic = protocol === 'HTTP3'
    const limit = quic ? user.maxQuicSessions : user.maxTcpSessions
    const what = quic ? 'quicSessions' : 'tcpSessions'
    const slot = this.#take(user, what, limit ?? Infinity)
    return () => slot.give(what)
  }

  /** The same for one tunnel. */
  takeTunnel(user: User): TunnelPlace {
    return new TunnelPlace(this.#take(user, 'tunnels', this.#options.maxTunnelsPerUser))
  }

  #take({ name }: User, what: Place, limit: number): UserSlot {
    const slot = this.#slots.of(name)
    if (slot.take(what, limit)) return slot
    const label = what === 'tunnels' ? 'tunnels' : 'sessions'
    this.#counters.count('user_limits_met', label)
    throw new EndpointError('limit_exceeded', `user holds all of ${limit} ${label}`)
  }
}
