/**
 * The only place that decides about a request: authenticate, admit, dispatch by authority, reply (`docs/protocol.md`).
 * Nothing is allocated or dialled for a request before its credentials have been accepted.
 */
import type { Clock } from '../clock.ts'
import type { Counters } from '../counters.ts'
import { EndpointError } from '../errors.ts'
import type { Log, Privacy } from '../log.ts'
import type { Target } from '../wire/target.ts'
import { parseHttpAuthority } from '../wire/authority.ts'
import type { ForwardEnd, TunnelEnd } from '../contract/forwarder.ts'
import { Answers } from './answers.ts'
import type { AuthThrottle } from './auth-throttle.ts'
import { authRefusal } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import { DelayedAnswers } from './delayed-answers.ts'
import { DispatchLog } from './dispatch-log.ts'
import { SessionRecord } from './session-record.ts'
import type { CredentialFault, Guest, UserDirectory, Visit } from './session-record.ts'
import { UserLimits } from './user-limits.ts'
import type { TunnelPlace, UserLimitsOptions, UserSlots } from './user-limits.ts'
import { Tunnel } from './tunnel.ts'
import type { Forwarders, TunnelHost } from './tunnel.ts'
import type { SessionRegistry } from './session-registry.ts'
import type { ConnectExchange, Exchange, PlainExchange } from '../contract/exchange.ts'
import type { Session } from '../contract/session.ts'
import type { SessionListener } from '../contract/session-listener.ts'

/** Everything that is not a tunnel (`web/`). */
interface Site {
  /** Answers any request except an admitted CONNECT. */
  handle(exchange: Exchange): void
  /** Answers with this status as the site would: what a stranger gets instead of a challenge. */
  handleDecoyStatus(exchange: Exchange, status: number): void
  /**
   * Whether a client's plain request for an `http:` address is meant for another server rather than for a page of the
   * site.
   */
  mayForward(exchange: PlainExchange): boolean
  /** Forwards it. Never rejects; with `failure`, the request still waits for an answer. */
  forward(exchange: PlainExchange, target: Target): Promise<ForwardEnd>
}

interface DispatcherOptions extends UserLimitsOptions {
  /** Whether one session may carry requests of several users. */
  readonly severalUsersPerSession: boolean
  readonly authFailureStatus: number
  /** Named in the challenge of a 407. */
  readonly realm: string
  readonly privacy: Privacy
}

interface DispatcherDependencies {
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Log
  readonly registry: SessionRegistry
  readonly throttle: AuthThrottle
  readonly directory: UserDirectory
  readonly slots: UserSlots
  readonly forwarders: Forwarders
  readonly site: Site
}

export class Dispatcher {
  readonly #options: DispatcherOptions
  readonly #deps: DispatcherDependencies
  readonly #log: DispatchLog
  readonly #limits: UserLimits
  readonly #answers: Answers
  readonly #tunnels: TunnelHost
  readonly #delayed: DelayedAnswers
  readonly #strangerRefusal: Refusal
  readonly #records = new WeakMap<Session, SessionRecord>()
  #directory: UserDirectory

  constructor(options: DispatcherOptions, deps: DispatcherDependencies) {
    this.#options = options
    this.#deps = deps
    this.#log = new DispatchLog(deps.log, options.privacy)
    this.#limits = new UserLimits(options, deps)
    this.#answers = new Answers(deps.counters, this.#log)
    this.#tunnels = {
      forwarders: deps.forwarders,
      limits: this.#limits,
      answers: this.#answers,
      counters: deps.counters,
      log: deps.log,
      privacy: options.privacy,
      account: (exchange, record, end, place) => this.#account(exchange, record, end, place),
    }
    this.#delayed = new DelayedAnswers(deps.clock, deps.counters)
    this.#strangerRefusal = authRefusal(options.authFailureStatus, options.realm)
    this.#directory = deps.directory
  }

  /**
   * Cuts off users that the new snapshot no longer accepts: their sessions, or their part of a shared one. Never throws,
   * because a change that has begun must reach every session.
   */
  replaceDirectory(directory: UserDirectory): void {
    this.#directory = directory
    for (const session of this.#deps.registry.sessions()) {
      try {
        this.#reconsider(session, directory)
      } catch (error) {
        this.#log.onCutOffFailed(session, error)
      }
    }
  }

  #reconsider(session: Session, directory: UserDirectory): void {
    const found = this.#records.get(session)?.reconsider(directory)
    if (found === undefined || found.revoked.length === 0) return
    if (found.left > 0) {
      for (const guest of found.revoked) guest.cutOff()
    } else {
      this.#deps.counters.count('sessions_revoked')
      session.destroy(new EndpointError('credentials_revoked', 'the user was removed or changed'))
    }
  }

  /** Who authenticated first on this session; undefined while nobody has. */
  userOf(session: Session): string | undefined {
    return this.#records.get(session)?.userName
  }

  /** The callback for every transport. */
  readonly acceptSession = (session: Session): SessionListener => {
    const { registry, counters } = this.#deps
    const record = new SessionRecord(this.#deps.clock.now(), this.#options.severalUsersPerSession)
    registry.add(session)
    this.#records.set(session, record)
    counters.count('sessions_total', session.protocol)
    return {
      onExchange: (exchange) => {
        try {
          this.#onExchange(exchange, record)
        } catch (error) {
          this.#answers.giveUp(exchange, undefined, error)
        }
      },
      onClose: (error) => this.#onSessionClose(session, record, error),
    }
  }

  #onExchange(exchange: Exchange, record: SessionRecord): void {
    this.#deps.registry.touch(exchange.session)
    record.requests++
    if (exchange.kind === 'plain' && exchange.malformed !== undefined)
      return this.#deps.site.handleDecoyStatus(exchange, exchange.malformed)
    if (exchange.channel !== 'main') return this.#visitSite(exchange)
    if (exchange.kind === 'plain') return this.#onPlain(exchange, record)
    const guest = this.#authenticate(exchange, record)
    if (guest === undefined) this.#onStranger(exchange, record.fault)
    else new Tunnel(guest, exchange, record, this.#tunnels).open()
  }

  #onStranger(exchange: ConnectExchange, fault: CredentialFault): void {
    this.#afterFailure(exchange, () => this.#answerStranger(exchange, fault))
  }

  /**
   * Forwards the request of a client that sends credentials along; everyone else gets the site, without a challenge.
   */
  #onPlain(exchange: PlainExchange, record: SessionRecord): void {
    if (exchange.scheme !== 'http') return this.#visitSite(exchange)
    const hasCredentials = exchange.headers['proxy-authorization'] !== undefined
    if (!hasCredentials || !this.#deps.site.mayForward(exchange)) return this.#visitSite(exchange)
    const guest = this.#authenticate(exchange, record)
    if (guest === undefined) {
      const { fault } = record
      return this.#afterFailure(exchange, () => {
        this.#answers.report(exchange, { code: 'auth_required' }, { fault })
        this.#visitSite(exchange)
      })
    }
    this.#guard({ guest, exchange }, (visit) => this.#forward(exchange, record, visit))
  }

  #authenticate({ headers, session }: Exchange, record: SessionRecord): Guest | undefined {
    const credentials = headers['proxy-authorization']
    const guest = record.authenticate(credentials, this.#directory, this.#deps.clock.wall())
    if (guest !== undefined) session.trust()
    return guest
  }

  #visitSite(exchange: Exchange): void {
    this.#deps.counters.count('requests', 'site')
    this.#deps.site.handle(exchange)
  }

  /** Never rejects; the exchange belongs to the user until `work` is done. */
  #guard(visit: Visit, work: (visit: Visit) => Promise<void>): void {
    const { guest, exchange } = visit
    guest.begin(visit)
    work(visit).then(
      () => guest.end(visit),
      (error: unknown) => {
        guest.end(visit)
        this.#answers.giveUp(exchange, guest.user, error)
      },
    )
  }

  /** No credentials that are accepted: guessing must cost time wherever it is tried. */
  #afterFailure(exchange: Exchange, answer: () => void): void {
    const delayMs = this.#deps.throttle.onFailure(exchange.session.remoteAddress)
    if (delayMs === 0) return answer()
    // The page for a status other than 407 depends on the user agent.
    if (exchange.kind === 'connect') exchange.keepFields('user-agent')
    this.#delayed.delay(exchange, delayMs, () => {
      try {
        answer()
      } catch (error) {
        this.#answers.giveUp(exchange, undefined, error)
      }
    })
  }

  #answerStranger(exchange: Exchange, fault: CredentialFault): void {
    const refusal = this.#strangerRefusal
    if (refusal.status === 407) this.#answers.refuse(exchange, refusal, { fault })
    else {
      this.#answers.report(exchange, refusal, { fault })
      this.#deps.site.handleDecoyStatus(exchange, refusal.status)
    }
  }

  /** A plain request to another server, admitted under the same conditions as a tunnel to it. */
  async #forward(exchange: PlainExchange, record: SessionRecord, visit: Visit): Promise<void> {
    const { counters, site } = this.#deps
    const { guest } = visit
    let place: TunnelPlace | undefined
    try {
      guest.admit(exchange.session, this.#limits)
      counters.count('requests', 'forward')
      const target = parseHttpAuthority(exchange.authority)
      place = this.#limits.takeTunnel(guest.user)
      record.onTunnelStart()
      const end = await site.forward(exchange, target)
      this.#account(exchange, record, end, place)
      if (end.failure !== undefined) throw end.failure
      counters.count('forwards_ended', end.reason)
    } catch (error) {
      this.#answers.refuseVisit(visit, error)
    } finally {
      place?.leave()
    }
  }

  #account(exchange: Exchange, record: SessionRecord, end: TunnelEnd, place: TunnelPlace | undefined): void {
    const { counters, registry } = this.#deps
    registry.touch(exchange.session)
    counters.count('inbound_traffic_bytes', exchange.session.protocol, end.uplinkBytes)
    counters.count('outbound_traffic_bytes', exchange.session.protocol, end.downlinkBytes)
    place?.countBytes(end.uplinkBytes, end.downlinkBytes)
    record.onTunnelEnd(end)
  }

  #onSessionClose(session: Session, record: SessionRecord, error: Error | undefined): void {
    const { registry, clock } = this.#deps
    registry.remove(session)
    const durationMs = clock.now() - record.startedAt
    record.close(() => this.#log.onSessionEnd(session, record, durationMs, error))
  }
}
