/**
 * Who may use the endpoint: one immutable snapshot of the credentials (specification 9). To change it, replace the
 * whole object.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Grant, User } from '../contract/user.ts'
import { parseBasicAuth } from '../wire/basic-auth.ts'

interface Credentials {
  readonly username: string
  readonly password: string
}

/** Another spelling that authenticates as a user, or the user's previous password. */
interface Alias extends Credentials, Pick<Grant, 'validUntil'> {}

export interface ClientCredentials extends Credentials, Omit<User, 'name'> {
  readonly aliases: readonly Alias[]
}

interface Key extends Pick<Grant, 'validUntil'> {
  readonly digest: Buffer
}

interface Entry {
  readonly user: User | undefined
  readonly keys: Key[]
}

/** The user behind every request when the endpoint has no credentials at all (loopback only). */
export const ANONYMOUS: User = { name: 'anonymous', maxTcpSessions: null, maxQuicSessions: null }

export class Directory {
  readonly #entries = new Map<string, Entry>()
  readonly #salt = randomBytes(32)
  /** Stands in for a user who does not exist, so that the work is the same. */
  readonly #nobody: Entry

  constructor(clients: readonly ClientCredentials[]) {
    this.#nobody = { user: undefined, keys: [] }
    const users = clients.map(({ username, maxTcpSessions, maxQuicSessions, ...spellings }) => ({
      user: { name: username, maxTcpSessions, maxQuicSessions },
      ...spellings,
    }))
    // Every name first: an alias must not take it from a user who stands further down.
    for (const { user, password } of users)
      this.#add(user, { username: user.name, password, validUntil: Infinity })
    for (const { user, aliases } of users) for (const alias of aliases) this.#add(user, alias)
    this.#level()
  }

  get isEmpty(): boolean {
    return this.#entries.size === 0
  }

  /**
   * Checks a `proxy-authorization` value at `nowMs` (wall time; with -Infinity a former password counts after its time
   * as well). Returns undefined for an unknown user and for a wrong password alike: each takes one digest and the same
   * number of comparisons in constant time.
   */
  authenticate(header: string | undefined, nowMs: number): Grant | undefined {
    if (this.isEmpty) return EVERYBODY
    const given = parseBasicAuth(header) ?? NO_CREDENTIALS
    const entry = this.#entries.get(given.username) ?? this.#nobody
    const digest = this.#digest(given.password)
    let validUntil = -Infinity
    for (const key of entry.keys) {
      validUntil = Math.max(validUntil, timingSafeEqual(key.digest, digest) ? key.validUntil : -Infinity)
    }
    return entry.user !== undefined && validUntil > nowMs ? { user: entry.user, validUntil } : undefined
  }

  #add(user: User, { username, password, validUntil }: Alias): void {
    const entry = this.#entries.get(username) ?? { user, keys: [] }
    if (entry.user?.name !== user.name) return
    entry.keys.push({ digest: this.#digest(Buffer.from(password)), validUntil })
    this.#entries.set(username, entry)
  }

  /** Gives every user the same number of keys, and nobody too: how many a user really has cannot be measured. */
  #level(): void {
    let most = 1
    for (const { keys } of this.#entries.values()) most = Math.max(most, keys.length)
    for (const { keys } of [...this.#entries.values(), this.#nobody]) {
      while (keys.length < most) keys.push({ digest: this.#digest(randomBytes(32)), validUntil: -Infinity })
    }
  }

  /** Fixed length and salted: a comparison reveals nothing about the length or a prefix of a password. */
  #digest(password: Uint8Array): Buffer {
    return hash('sha256', Buffer.concat([this.#salt, password]), 'buffer')
  }
}

const EVERYBODY: Grant = { user: ANONYMOUS, validUntil: Infinity }
const NO_CREDENTIALS = { username: '', password: Buffer.alloc(32) }
