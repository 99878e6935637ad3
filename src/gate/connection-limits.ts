/**
 * How many connections and handshakes there may be, in all and from one address (`docs/limits.md`). IPv4 addresses
 * count one by one, IPv6 addresses by their /64. Each new connection also costs its address a token: a burst lets
 * everybody behind one NAT come back at once, and the rate bounds what a scanner can do over time. Over a limit, the
 * newest connection is refused.
 */
import type { Clock } from '../clock.ts'
import { customerOf } from '../wire/ip-kind.ts'

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

/** How many addresses without a connection are remembered for their tokens; above it the longest idle is forgotten. */
const MAX_IDLE_ADDRESSES = 8192

/** What one address holds. */
interface Holding {
  readonly key: string
  connections: number
  handshakes: number
  tokens: number
  /** When `tokens` was last brought up to date, in milliseconds of the clock. */
  countedAtMs: number
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

export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions
  readonly #clock: Clock
  #connections = 0
  #handshakes = 0
  readonly #active = new Map<string, Holding>()
  /** In the order in which they became idle. */
  readonly #idle = new Map<string, Holding>()

  constructor(options: ConnectionLimitsOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
  }

  get connections(): number {
    return this.#connections
  }

  get handshakes(): number {
    return this.#handshakes
  }

  /** Number of addresses remembered, for tests and gauges. */
  get addresses(): number {
    return this.#active.size + this.#idle.size
  }

  /** A place for a new connection, counted as being in its handshake; or the name of the limit that is reached. */
  admit(): Admission | LimitReason {
    if (this.#connections >= this.#options.connectionsTotal) return 'connections_total'
    if (this.#handshakes >= this.#options.handshakesTotal) return 'handshakes_total'
    this.#connections += 1
    this.#handshakes += 1
    let holding: Holding | undefined
    let state: 'handshake' | 'open' | 'released' = 'handshake'
    const handshakeDone = (): void => {
      if (state !== 'handshake') return
      state = 'open'
      this.#handshakes -= 1
      if (holding !== undefined) holding.handshakes -= 1
    }
    return {
      identify: (address) => {
        const found = this.#take(address)
        if (typeof found === 'string') return found
        holding = found
        return undefined
      },
      handshakeDone,
      release: () => {
        handshakeDone()
        if (state === 'released') return
        state = 'released'
        this.#connections -= 1
        if (holding !== undefined) this.#giveBack(holding)
      },
    }
  }

  #take(address: string): Holding | LimitReason {
    const { connectionsPerAddress, handshakesPerAddress } = this.#options
    this.#forgetRested()
    const holding = this.#holdingOf(customerOf(address))
    this.#refill(holding)
    if (holding.connections >= connectionsPerAddress) return 'connections_per_address'
    if (holding.handshakes >= handshakesPerAddress) return 'handshakes_per_address'
    if (holding.tokens < 1) return 'connection_rate'
    holding.tokens -= 1
    holding.connections += 1
    holding.handshakes += 1
    this.#idle.delete(holding.key)
    this.#active.set(holding.key, holding)
    return holding
  }

  #giveBack(holding: Holding): void {
    holding.connections -= 1
    if (holding.connections > 0) return
    this.#active.delete(holding.key)
    this.#idle.set(holding.key, holding)
  }

  #holdingOf(key: string): Holding {
    const known = this.#active.get(key) ?? this.#idle.get(key)
    if (known !== undefined) return known
    const tokens = this.#options.connectionBurst
    return { key, connections: 0, handshakes: 0, tokens, countedAtMs: this.#clock.now() }
  }

  #refill(holding: Holding): void {
    const now = this.#clock.now()
    const earned = ((now - holding.countedAtMs) / 1000) * this.#options.connectionRate
    holding.tokens = Math.min(this.#options.connectionBurst, holding.tokens + earned)
    holding.countedAtMs = now
  }

  /** Drops the longest idle addresses whose tokens are back to full, and any above the ceiling: a few each time. */
  #forgetRested(): void {
    for (const holding of this.#idle.values()) {
      this.#refill(holding)
      if (holding.tokens < this.#options.connectionBurst && this.#idle.size <= MAX_IDLE_ADDRESSES) return
      this.#idle.delete(holding.key)
    }
  }
}
