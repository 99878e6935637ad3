/** What is remembered about a session from its first exchange to its log line. */
import type { Exchange } from '../contract/exchange.ts'
import type { Session } from '../contract/session.ts'
import type { TunnelEnd } from '../contract/forwarder.ts'
import type { Grant, User } from '../contract/user.ts'
import type { UserLimits } from './user-limits.ts'

/** The snapshot of users in force (`users/directory.ts`). */
export interface UserDirectory {
  /** `nowMs` is wall time; with -Infinity, credentials whose time is over are accepted as well. */
  authenticate(header: string | undefined, nowMs: number): Grant | undefined
}

/**
 * How many spellings of a user's credentials are remembered: clients send one, and two while a password changes. The
 * same credentials can be spelt in thousands of ways, each as long as a header may be.
 */
const MAX_SPELLINGS = 4

/** One user on one session. */
export class Guest {
  readonly user: User
  /** Keyed by `proxy-authorization`, oldest first. */
  readonly #grants = new Map<string | undefined, Grant>()
  readonly #visits = new Set<Visit>()
  #release: (() => void) | undefined

  constructor(user: User) {
    this.user = user
  }

  /** Whether this spelling was accepted and is still valid. */
  knows(header: string | undefined, nowMs: number): boolean {
    return (this.#grants.get(header)?.validUntil ?? -Infinity) > nowMs
  }

  remember(header: string | undefined, grant: Grant): void {
    this.#grants.delete(header)
    this.#grants.set(header, grant)
    if (this.#grants.size <= MAX_SPELLINGS) return
    for (const oldest of this.#grants.keys()) {
      this.#grants.delete(oldest)
      break
    }
  }

  /**
   * Checks again; false when the snapshot has none of the spellings for this user any more. One whose time is over still
   * counts: what is open goes on, and {@link knows} refuses new requests.
   */
  isLetInBy(directory: UserDirectory): boolean {
    for (const header of this.#grants.keys()) {
      const grant = directory.authenticate(header, -Infinity)
      if (grant?.user.name === this.user.name) this.#grants.set(header, grant)
      else this.#grants.delete(header)
    }
    return this.#grants.size > 0
  }

  /** Takes one of the user's places for the session, once. @throws EndpointError `limit_exceeded`. */
  admit(session: Session, limits: UserLimits): void {
    this.#release ??= limits.takeSession(this.user, session.protocol)
  }

  /** The exchange belongs to this user until {@link end}. */
  begin(visit: Visit): void {
    this.#visits.add(visit)
  }

  end(visit: Visit): void {
    this.#visits.delete(visit)
  }

  /** Gives the place back. */
  leave(): void {
    this.#release?.()
    this.#release = undefined
  }

  /** Ends this user's exchanges, and nothing else of the session. */
  cutOff(): void {
    for (const { exchange } of this.#visits) exchange.cancel()
  }
}

/** One exchange of a user while it is worked on. */
export interface Visit {
  readonly guest: Guest
  readonly exchange: Exchange
}

/** Why credentials were not accepted. For the log alone: no answer may depend on it. */
export type CredentialFault = 'missing' | 'wrong' | 'another_user'

/** Everything about a session except its connection. */
export class SessionRecord {
  readonly startedAt: number
  requests = 0
  tunnels = 0
  uplinkBytes = 0
  downlinkBytes = 0
  readonly #severalUsers: boolean
  /** Keyed by name; there is nearly always one. */
  readonly #guests = new Map<string, Guest>()
  #firstName: string | undefined
  #fault: CredentialFault = 'missing'
  #running = 0
  #onSettled: (() => void) | undefined

  /** @param severalUsers whether a session may carry requests of more than one user. */
  constructor(startedAt: number, severalUsers: boolean) {
    this.startedAt = startedAt
    this.#severalUsers = severalUsers
  }

  /** The first user who authenticated. */
  get userName(): string | undefined {
    return this.#firstName
  }

  /** Why {@link authenticate} has just refused; `another_user` when the session is somebody else's. */
  get fault(): CredentialFault {
    return this.#fault
  }

  /** Credentials accepted on this session before are accepted again without further work. */
  authenticate(header: string | undefined, directory: UserDirectory, nowMs: number): Guest | undefined {
    for (const guest of this.#guests.values()) if (guest.knows(header, nowMs)) return guest
    const grant = directory.authenticate(header, nowMs)
    this.#fault = header === undefined ? 'missing' : grant === undefined ? 'wrong' : 'another_user'
    if (grant === undefined) return undefined
    const guest = this.#guests.get(grant.user.name) ?? this.#welcome(grant.user)
    guest?.remember(header, grant)
    return guest
  }

  #welcome(user: User): Guest | undefined {
    if (this.#guests.size > 0 && !this.#severalUsers) return undefined
    const guest = new Guest(user)
    this.#guests.set(user.name, guest)
    this.#firstName ??= user.name
    return guest
  }

  /**
   * Call with each new snapshot: forgets the users that it no longer accepts, and reports whether any are left. What
   * those users run goes on until {@link Guest.cutOff}.
   */
  reconsider(directory: UserDirectory): { revoked: readonly Guest[]; left: number } {
    const revoked = [...this.#guests.values()].filter((guest) => !guest.isLetInBy(directory))
    for (const guest of revoked) {
      guest.leave()
      this.#guests.delete(guest.user.name)
    }
    return { revoked, left: this.#guests.size }
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

  /** Gives the places back; `onSettled` runs once the last tunnel has reported its bytes. */
  close(onSettled: () => void): void {
    for (const guest of this.#guests.values()) guest.leave()
    this.#guests.clear()
    this.#onSettled = onSettled
    if (this.#running === 0) onSettled()
  }
}
