/** The attempts to connect to one of several addresses (RFC 8305 section 5). */
import type { Socket } from 'node:net'
import type { Timer } from '../clock.ts'
import type { EndpointError, RefusalCode } from '../errors.ts'
import type { IpAddress } from '../wire/ip-address.ts'
import { connectionFailure, giveUpConnection, type Connector } from './connection.ts'
import { noDescriptor, type DialEnvironment } from './dial-environment.ts'

/** RFC 8305 section 8: Connection Attempt Delay. */
const ATTEMPT_DELAY_MS = 250

const FURTHEST_FIRST: readonly RefusalCode[] = [
  // Not every address was tried.
  'limit_exceeded',
  'target_refused',
  'target_timeout',
  'target_unreachable',
]

/** Hears exactly one of the two, unless the race is ended first. */
export interface RaceOwner {
  onWinner(socket: Socket): void
  onAllFailed(error: EndpointError): void
}

export class Race implements Connector {
  readonly #addresses: readonly IpAddress[]
  readonly #port: number
  readonly #environment: DialEnvironment
  readonly #owner: RaceOwner
  readonly #pending = new Set<Socket>()
  readonly #failures: EndpointError[] = []
  #next = 0
  #stagger: Timer | undefined

  constructor(addresses: readonly IpAddress[], port: number, environment: DialEnvironment, owner: RaceOwner) {
    this.#addresses = addresses
    this.#port = port
    this.#environment = environment
    this.#owner = owner
  }

  /** Starts the next attempt, if an address is left. */
  attempt(): void {
    this.#stagger?.cancel()
    const next = this.#addresses[this.#next]
    if (next === undefined) return
    const { clock, mayDial } = this.#environment
    // Asked here, because others may have taken the last ones while the name was resolved or an attempt waited.
    if (!mayDial()) return this.#onExhausted()
    this.#next += 1
    this.#pending.add(this.#environment.open(next.address, this.#port, this))
    if (this.#next < this.#addresses.length) {
      this.#stagger = clock.after(ATTEMPT_DELAY_MS, () => this.attempt())
    }
  }

  /** Destroys every attempt under way. Nothing is reported any more. */
  end(): void {
    this.#stagger?.cancel()
    this.#next = this.#addresses.length
    for (const socket of this.#pending) giveUpConnection(socket)
    this.#pending.clear()
  }

  onConnected(socket: Socket): void {
    this.#pending.delete(socket)
    this.end()
    this.#owner.onWinner(socket)
  }

  onFailed(socket: Socket, error: Error): void {
    this.#pending.delete(socket)
    this.#environment.onFailedConnection(error)
    this.#failures.push(connectionFailure(error))
    if (this.#next < this.#addresses.length) this.attempt()
    else if (this.#pending.size === 0) this.#fail()
  }

  /** Goes on with the attempts under way, if there are any. */
  #onExhausted(): void {
    this.#next = this.#addresses.length
    this.#failures.push(noDescriptor(this.#environment))
    if (this.#pending.size === 0) this.#fail()
  }

  #fail(): void {
    const furthest = FURTHEST_FIRST.map((each) => this.#failures.find((failure) => failure.code === each))
    const error = furthest.find((failure) => failure !== undefined)
    if (error !== undefined) this.#owner.onAllFailed(error)
  }
}
