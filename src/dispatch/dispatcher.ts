/**
 * The only place that decides about a request: authenticate, admit, dispatch by authority, reply
 * (DESIGN sections 2 to 4). Nothing is allocated or dialled for a request before its credentials hold.
 */
import type { Clock } from '../clock.ts'
import type { Counters } from '../counters.ts'
import { clientFields, targetFields } from '../log.ts'
import type { Log, Privacy } from '../log.ts'
import type { Authority, Target } from '../wire/target.ts'
import { parseAuthority, parseHttpAuthority } from '../wire/authority.ts'
import type { ForwardEnd, Forwarder, OpenTunnel, TunnelEnd } from '../contract/forwarder.ts'
import type { AuthThrottle } from './auth-throttle.ts'
import { authRefusal, refusalOf, systemCodeOf } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import { SessionLimits } from './session-limits.ts'
import type { LimitedUser } from './session-limits.ts'
import type { SessionRegistry } from './session-registry.ts'
import type { ClientSession, SessionListener, TunnelRequest } from '../contract/session.ts'

/** The snapshot of users in force (`users/directory.ts`). */
export interface UserDirectory {
  authenticate(header: string | undefined): LimitedUser | undefined
}

/** Everything that is not a tunnel (`service/`). */
export interface WebSite {
  /** Answers any request but an admitted CONNECT. */
  handle(request: TunnelRequest): void
  /** Answers as the site does for this status: what a stranger gets instead of a challenge. */
  handleDecoyStatus(request: TunnelRequest, status: number): void
  /** Whether a client's plain request for an `http:` address is for another server, not for a page of the site. */
  mayForward(request: TunnelRequest): boolean
  /** Forwards it. Never rejects: with `failure` the request still waits for an answer. */
  forward(request: TunnelRequest, target: Target): Promise<ForwardEnd>
}

export interface Forwarders {
  readonly tcp: Forwarder<Target>
  readonly udp: Forwarder<undefined>
  readonly icmp: Forwarder<undefined>
  readonly check: Forwarder<undefined>
}

export interface TunnelOptions {
  readonly authFailureStatus: number
  /** Named in the challenge of a 407. */
  readonly realm: string
  readonly privacy: Privacy
}

export interface TunnelDependencies {
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Log
  readonly registry: SessionRegistry
  readonly throttle: AuthThrottle
  readonly directory: UserDirectory
  readonly forwarders: Forwarders
  readonly site: WebSite
}

export class Tunnel {
  readonly #options: TunnelOptions
  readonly #deps: TunnelDependencies
  readonly #limits = new SessionLimits()
  readonly #strangerRefusal: Refusal
  readonly #records = new WeakMap<ClientSession, SessionRecord>()
  #directory: UserDirectory

  constructor(options: TunnelOptions, deps: TunnelDependencies) {
    this.#options = options
    this.#deps = deps
    this.#strangerRefusal = authRefusal(options.authFailureStatus, options.realm)
    this.#directory = deps.directory
  }

  /** Ends the sessions of users that the new snapshot does not let in any more, with all that runs on them. */
  replaceDirectory(directory: UserDirectory): void {
    this.#directory = directory
    const { registry, counters } = this.#deps
    for (const session of registry.sessions()) {
      if (this.#records.get(session)?.isLetInBy(directory) !== false) continue
      counters.count('sessions_revoked')
      session.destroy(new Error('a user of the session was removed or changed'))
    }
  }

  /** Who authenticated first on this session; undefined while nobody has. */
  userOf(session: ClientSession): string | undefined {
    return this.#records.get(session)?.userName
  }

  /** To be given to every transport. */
  readonly acceptSession = (session: ClientSession): SessionListener => {
    const { registry, counters } = this.#deps
    const record = new SessionRecord(this.#deps.clock.now())
    registry.add(session)
    this.#records.set(session, record)
    counters.count('sessions_total', session.protocol)
    return {
      onRequest: (request) => this.#onRequest(request, record),
      onClose: (error) => this.#onSessionClose(session, record, error),
    }
  }

  #onRequest(request: TunnelRequest, record: SessionRecord): void {
    this.#deps.registry.touch(request.session)
    record.requests++
    if (request.channel !== 'main') return this.#visitSite(request)
    if (request.method !== 'CONNECT') return this.#onPlainRequest(request, record)
    const user = record.authenticate(request.headers['proxy-authorization'], this.#directory)
    if (user === undefined) return this.#afterFailure(request, () => this.#answerStranger(request))
    this.#guard(request, this.#openTunnel(request, record, user))
  }

  /** Forwarded for a client that sends its credentials along; everyone else gets the site, without a challenge. */
  #onPlainRequest(request: TunnelRequest, record: SessionRecord): void {
    if (request.scheme !== 'http') return this.#visitSite(request)
    const credentials = request.headers['proxy-authorization']
    if (credentials === undefined || !this.#deps.site.mayForward(request)) return this.#visitSite(request)
    const user = record.authenticate(credentials, this.#directory)
    if (user === undefined) return this.#afterFailure(request, () => this.#visitSite(request))
    this.#guard(request, this.#forward(request, record, user))
  }

  #visitSite(request: TunnelRequest): void {
    this.#deps.counters.count('requests', 'site')
    this.#deps.site.handle(request)
  }

  #guard(request: TunnelRequest, work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#deps.log.error({ err: error }, 'a request failed in a way that should not happen')
      request.reset('internal_error')
    })
  }

  /** Wrong credentials were sent: guessing costs time wherever it is tried. */
  #afterFailure(request: TunnelRequest, answer: () => void): void {
    const { throttle, clock, counters } = this.#deps
    const delayMs = throttle.onFailure(request.session.remoteAddress)
    if (delayMs === 0) return answer()
    counters.count('auth_delayed')
    clock.after(delayMs, () => request.signal.aborted || answer())
  }

  #answerStranger(request: TunnelRequest): void {
    const refusal = this.#strangerRefusal
    if (refusal.status === 407) this.#refuse(request, refusal)
    else {
      this.#report(request, refusal)
      this.#deps.site.handleDecoyStatus(request, refusal.status)
    }
  }

  async #openTunnel(request: TunnelRequest, record: SessionRecord, user: LimitedUser): Promise<void> {
    const opened = await this.#open(request, record, user)
    if (opened === undefined) return
    if (request.signal.aborted) return opened.destroy()
    const stream = request.accept({}, { endStream: opened.endsAtOnce === true })
    if (opened.endsAtOnce) return
    record.onTunnelStart()
    const end = await opened.run(stream)
    this.#deps.counters.count('tunnels_ended', end.reason)
    this.#account(request, record, end)
  }

  /** A plain request to another server, admitted as a tunnel to it would be. */
  async #forward(request: TunnelRequest, record: SessionRecord, user: LimitedUser): Promise<void> {
    const { counters, site } = this.#deps
    try {
      record.admit(user, request.session, this.#limits)
      counters.count('requests', 'forward')
      const target = parseHttpAuthority(request.authority)
      record.onTunnelStart()
      const end = await site.forward(request, target)
      this.#account(request, record, end)
      if (end.failure !== undefined) throw end.failure
      counters.count('forwards_ended', end.reason)
    } catch (error) {
      this.#refuse(request, refusalOf(error, request.authority), user, error)
    }
  }

  #account(request: TunnelRequest, record: SessionRecord, end: TunnelEnd): void {
    const { counters, registry } = this.#deps
    registry.touch(request.session)
    counters.count('inbound_traffic_bytes', request.session.protocol, end.uplinkBytes)
    counters.count('outbound_traffic_bytes', request.session.protocol, end.downlinkBytes)
    record.onTunnelEnd(end)
  }

  async #open(
    request: TunnelRequest,
    record: SessionRecord,
    user: LimitedUser,
  ): Promise<OpenTunnel | undefined> {
    try {
      record.admit(user, request.session, this.#limits)
      const authority = parseAuthority(request.authority)
      this.#deps.counters.count('requests', authority.kind)
      return await this.#dispatch(authority, request, user)
    } catch (error) {
      this.#refuse(request, refusalOf(error, request.authority), user, error)
      return undefined
    }
  }

  #dispatch(authority: Authority, request: TunnelRequest, user: LimitedUser): Promise<OpenTunnel> {
    const { forwarders, log } = this.#deps
    const { session, signal } = request
    const context = { user: user.name, sessionId: session.id, protocol: session.protocol, log, signal }
    switch (authority.kind) {
      case 'udp':
        return forwarders.udp.open(undefined, context)
      case 'icmp':
        return forwarders.icmp.open(undefined, context)
      case 'check':
        return forwarders.check.open(undefined, context)
      case 'address':
      case 'name':
        return forwarders.tcp.open(authority, context)
    }
  }

  #refuse(request: TunnelRequest, refusal: Refusal, user?: LimitedUser, error?: unknown): void {
    // A client that has gone needs no answer, and what failed because of that is no refusal.
    if (request.signal.aborted) return
    request.refuse(refusal.status, refusal.headers)
    this.#report(request, refusal, user, error)
  }

  #report(request: TunnelRequest, { code, status }: Refusal, user?: LimitedUser, error?: unknown): void {
    const { log, counters } = this.#deps
    const { privacy } = this.#options
    const cause = systemCodeOf(error)
    counters.count('refused_requests', code)
    log.info(
      {
        code,
        status,
        session: request.session.id,
        protocol: request.session.protocol,
        ...(user && { user: user.name }),
        ...clientFields(privacy, request.session.remoteAddress),
        ...targetFields(privacy, request.authority),
        ...(cause !== undefined && { cause }),
        ...(error instanceof Error && privacy === 'full' && { reason: error.message }),
      },
      'request refused',
    )
  }

  #onSessionClose(session: ClientSession, record: SessionRecord, error: Error | undefined): void {
    this.#deps.registry.remove(session)
    const { startedAt, userName } = record
    const durationMs = Math.round(this.#deps.clock.now() - startedAt)
    record.close(() => {
      this.#deps.log.info(
        {
          session: session.id,
          user: userName,
          protocol: session.protocol,
          ...clientFields(this.#options.privacy, session.remoteAddress),
          durationMs,
          requests: record.requests,
          streams: record.tunnels,
          uplinkBytes: record.uplinkBytes,
          downlinkBytes: record.downlinkBytes,
          ...(error && { error: error.message }),
        },
        'session ended',
      )
    })
  }
}

/** What is remembered of a session from its first request to its log line. */
class SessionRecord {
  readonly startedAt: number
  requests = 0
  tunnels = 0
  uplinkBytes = 0
  downlinkBytes = 0
  /** A place per user that has authenticated on this session; nearly always one. */
  readonly #places = new Map<string, () => void>()
  /** Users by the `proxy-authorization` that the directory in force has accepted. */
  readonly #accepted = new Map<string | undefined, LimitedUser>()
  #directory: UserDirectory | undefined
  #running = 0
  #onSettled: (() => void) | undefined

  constructor(startedAt: number) {
    this.startedAt = startedAt
  }

  /** The first user that authenticated. */
  get userName(): string | undefined {
    return this.#places.keys().next().value
  }

  /** What was accepted on this session is accepted again without work, as long as the directory is the same. */
  authenticate(header: string | undefined, directory: UserDirectory): LimitedUser | undefined {
    if (this.#directory !== directory) this.#accepted.clear()
    this.#directory = directory
    const known = this.#accepted.get(header)
    if (known !== undefined) return known
    const user = directory.authenticate(header)
    if (user !== undefined) this.#accepted.set(header, user)
    return user
  }

  /** Whether all credentials that were accepted on this session still stand for the same users. */
  isLetInBy(directory: UserDirectory): boolean {
    return [...this.#accepted].every(([header, user]) => directory.authenticate(header)?.name === user.name)
  }

  admit(user: LimitedUser, session: ClientSession, limits: SessionLimits): void {
    if (!this.#places.has(user.name)) this.#places.set(user.name, limits.acquire(user, session.protocol))
  }

  onTunnelStart(): void {
    this.tunnels++
    this.#running++
  }

  onTunnelEnd({ uplinkBytes, downlinkBytes }: TunnelEnd): void {
    this.uplinkBytes += uplinkBytes
    this.downlinkBytes += downlinkBytes
    this.#running--
    if (this.#running === 0) this.#onSettled?.()
  }

  /** Gives the places back; `onSettled` runs once the last tunnel has told its bytes. */
  close(onSettled: () => void): void {
    for (const release of this.#places.values()) release()
    this.#places.clear()
    this.#onSettled = onSettled
    if (this.#running === 0) onSettled()
  }
}
