/**
 * How many connections and handshakes there may be, in all and from one address (`docs/limits.md`), over all lanes. IPv4
 * addresses count one by one, IPv6 addresses by their /64. Each new connection also costs its address a token: a burst lets
 * everybody behind one NAT come back at once, and the rate bounds what a scanner can do over time. Over a limit, the
 * newest connection is refused.
 */
import type { Clock } from '../clock.ts'

export interface ConnectionLimitsOptions {
  readonly handshakesPerAddress: number
  readonly handshakesTotal: number
  readonly connectionsPerAddress: number
  readonly connectionsTotal: number
  /** New connections that one address may open at once. */
  readonly connectionBurst: number
  /** New connections per second that one address may keep opening. */
  readonly connectionRate: number
}

const LIMIT_REASONS = [
  'handshakes_total',
  'handshakes_per_address',
  'connections_total',
  'connections_per_address',
  'connection_rate',
] as const
export type LimitReason = (typeof LIMIT_REASONS)[number]

export function isLimitReason(reason: string): reason is LimitReason {
  return (LIMIT_REASONS as readonly string[]).includes(reason)
}

/** What the addresses of all lanes have open, and how fast they may go on (`users/address-table.ts`). */
export interface AddressRecord {
  connect(
    address: string,
    limits: {
      readonly connections: number
      readonly handshakes: number
      readonly bucket: { readonly size: number; readonly refillMs: number }
    },
    nowMs: number,
  ): AddressHold | 'connections' | 'handshakes' | 'tokens' | 'full'
}

interface AddressHold {
  handshakeDone(): void
  release(): void
}

/** What the endpoint holds in all lanes (`users/ledger.ts`). */
export interface EndpointPlaces {
  take(what: 'connections' | 'handshakes', limit: number): boolean
  give(what: 'connections' | 'handshakes'): void
}

interface ConnectionLimitsDependencies {
  readonly clock: Clock
  readonly addresses: AddressRecord
  readonly places: EndpointPlaces
}

/** The place of one connection. Every method is idempotent. */
export interface Admission {
  /**
   * Counts the connection against its address as well. A returned reason means that it must be closed. Call at most
   * once.
   */
  identify(address: string): LimitReason | undefined
  handshakeDone(): void
  /** The connection is closed. */
  release(): void
}

const REASONS = {
  connections: 'connections_per_address',
  handshakes: 'handshakes_per_address',
  tokens: 'connection_rate',
  // There is no room to count it by its address.
  full: 'connections_total',
} as const satisfies Record<string, LimitReason>

const SECOND_MS = 1000

export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions
  readonly #deps: ConnectionLimitsDependencies
  readonly #addressLimits: Parameters<AddressRecord['connect']>[1]
  #connections = 0
  #handshakes = 0

  constructor(options: ConnectionLimitsOptions, deps: ConnectionLimitsDependencies) {
    this.#options = options
    this.#deps = deps
    this.#addressLimits = {
      connections: options.connectionsPerAddress,
      handshakes: options.handshakesPerAddress,
      bucket: { size: options.connectionBurst, refillMs: SECOND_MS / options.connectionRate },
    }
  }

  /** Of this lane. */
  get connections(): number {
    return this.#connections
  }

  /** Of this lane. */
  get handshakes(): number {
    return this.#handshakes
  }

  /** A place for a new connection, counted as being in its handshake; or the name of the limit that is reached. */
  admit(): Admission | LimitReason {
    const { places } = this.#deps
    if (!places.take('connections', this.#options.connectionsTotal)) return 'connections_total'
    if (!places.take('handshakes', this.#options.handshakesTotal)) {
      places.give('connections')
      return 'handshakes_total'
    }
    this.#connections += 1
    this.#handshakes += 1
    let hold: AddressHold | undefined
    let state: 'handshake' | 'open' | 'released' = 'handshake'
    const handshakeDone = (): void => {
      if (state !== 'handshake') return
      state = 'open'
      this.#handshakes -= 1
      places.give('handshakes')
      hold?.handshakeDone()
    }
    return {
      identify: (address) => {
        const found = this.#deps.addresses.connect(address, this.#addressLimits, this.#deps.clock.now())
        if (typeof found === 'string') return REASONS[found]
        hold = found
        return undefined
      },
      handshakeDone,
      release: () => {
        handshakeDone()
        if (state === 'released') return
        state = 'released'
        this.#connections -= 1
        places.give('connections')
        hold?.release()
      },
    }
  }
}
