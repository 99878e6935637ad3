/**
 * One CONNECT of a user, from its credentials to its last byte. A tunnel may do nothing for hours, so one object is all
 * that is kept of it here: promises and closures for its steps would take more memory than the rest of the tunnel.
 */
import type { Counters } from '../counters.ts'
import type { Log, Privacy } from '../log.ts'
import { parseAuthority } from '../wire/authority.ts'
import type { Authority, Target } from '../wire/target.ts'
import type { Cancellation } from '../contract/cancellation.ts'
import type { ConnectExchange, Exchange } from '../contract/exchange.ts'
import type { Forwarder, OpenTunnel, TunnelContext, TunnelEnd } from '../contract/forwarder.ts'
import type { ProtocolLabel } from '../contract/session.ts'
import type { StreamEnd } from '../contract/stream-end.ts'
import type { Answers } from './answers.ts'
import type { Guest, SessionRecord, Visit } from './session-record.ts'
import type { TunnelPlace, UserLimits } from './user-limits.ts'

export interface Forwarders {
  readonly tcp: Forwarder<Target>
  readonly udp: Forwarder<undefined>
  readonly icmp: Forwarder<undefined>
  readonly check: Forwarder<undefined>
}

/** What all tunnels share. */
export interface TunnelHost {
  readonly forwarders: Forwarders
  readonly limits: UserLimits
  readonly answers: Answers
  readonly counters: Counters
  readonly log: Log
  readonly privacy: Privacy
  /** Counts what was moved. */
  account(exchange: Exchange, record: SessionRecord, end: TunnelEnd, place: TunnelPlace | undefined): void
}

/** Of a tunnel that failed. */
const NOTHING_KNOWN: TunnelEnd = { reason: 'aborted', uplinkBytes: 0, downlinkBytes: 0 }

export class Tunnel implements Visit, TunnelContext {
  readonly guest: Guest
  readonly exchange: ConnectExchange
  readonly #record: SessionRecord
  readonly #host: TunnelHost
  /** Undefined for a health check, which takes none. */
  #place: TunnelPlace | undefined
  #state: 'opening' | 'running' | 'over' = 'opening'

  constructor(guest: Guest, exchange: ConnectExchange, record: SessionRecord, host: TunnelHost) {
    this.guest = guest
    this.exchange = exchange
    this.#record = record
    this.#host = host
  }

  get user(): string {
    return this.guest.user.name
  }

  get sessionId(): string {
    return this.exchange.session.id
  }

  get protocol(): ProtocolLabel {
    return this.exchange.session.protocol
  }

  get log(): Log {
    return this.#host.log
  }

  get privacy(): Privacy {
    return this.#host.privacy
  }

  get cancellation(): Cancellation {
    return this.exchange.cancellation ?? this.exchange.signal
  }

  get signal(): AbortSignal {
    return this.exchange.signal
  }

  /** Admits it and has it opened, or refuses it. Never throws. */
  open(): void {
    this.guest.begin(this)
    try {
      const authority = this.#admit()
      // A tunnel may stay for hours, and needs nothing more of its head.
      this.exchange.keepFields()
      this.#dispatch(authority)
    } catch (error) {
      this.onRefused(error)
    }
  }

  /** Takes the user's places for a tunnel. @throws EndpointError with the code of the refusal. */
  #admit(): Authority {
    const { limits, counters } = this.#host
    const { guest, exchange } = this
    guest.admit(exchange.session, limits)
    const authority = parseAuthority(exchange.authority)
    counters.count('requests', authority.kind)
    // A client that may open no more tunnels is still alive: refusing its health check would end its session.
    if (authority.kind !== 'check') this.#place = limits.takeTunnel(guest.user)
    return authority
  }

  #dispatch(authority: Authority): void {
    const { forwarders } = this.#host
    switch (authority.kind) {
      case 'udp':
        return forwarders.udp.open(undefined, this)
      case 'icmp':
        return forwarders.icmp.open(undefined, this)
      case 'check':
        return forwarders.check.open(undefined, this)
      case 'address':
      case 'name':
        return forwarders.tcp.open(authority, this)
    }
  }

  onOpen(tunnel: OpenTunnel): void {
    try {
      if (this.cancellation.aborted) {
        tunnel.destroy()
        return this.#end()
      }
      const stream = this.#accept(tunnel)
      if (tunnel.endsAtOnce) return this.#end()
      this.#state = 'running'
      this.#record.onTunnelStart()
      tunnel.run(stream)
    } catch (error) {
      this.onFault(error)
    }
  }

  /** A target whose client cannot be told belongs to nobody. */
  #accept(tunnel: OpenTunnel): StreamEnd {
    try {
      return this.exchange.accept({}, { endStream: tunnel.endsAtOnce === true })
    } catch (error) {
      tunnel.destroy()
      throw error
    }
  }

  onRefused(error: unknown): void {
    if (this.#state === 'over') return
    try {
      this.#host.answers.refuseVisit(this, error)
      this.#end()
    } catch (fault) {
      this.onFault(fault)
    }
  }

  onEnd(end: TunnelEnd): void {
    if (this.#state === 'over') return
    try {
      this.#host.counters.count('tunnels_ended', end.reason)
      this.#host.account(this.exchange, this.#record, end, this.#place)
      this.#end()
    } catch (error) {
      this.onFault(error)
    }
  }

  onFault(error: unknown): void {
    const wasRunning = this.#state === 'running'
    this.#end()
    this.#host.answers.giveUp(this.exchange, this.guest.user, error)
    // The session's line in the log waits for all of them.
    if (wasRunning) this.#record.onTunnelEnd(NOTHING_KNOWN)
  }

  /** Gives its place back, once. */
  #end(): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.guest.end(this)
    this.#place?.leave()
  }
}
