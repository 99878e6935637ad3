/** What is remembered of a session from its first exchange to its log line. */
import type { Session } from '../contract/session.ts'
import type { TunnelEnd } from '../contract/forwarder.ts'
import type { LimitedUser, SessionLimits } from './session-limits.ts'

/** The snapshot of users in force (`users/directory.ts`). */
export interface UserDirectory {
  authenticate(header: string | undefined): LimitedUser | undefined
}

/** Everything but its connection. */
export class SessionRecord {
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

  admit(user: LimitedUser, session: Session, limits: SessionLimits): void {
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
