/**
 * Who may use the endpoint: one immutable snapshot of the credentials (specification 9).
 * Replacing the snapshot is replacing the object.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { parseBasicAuth } from '../wire/basic-auth.ts'

export interface ClientCredentials {
  readonly username: string
  readonly password: string
  /** Other spellings that authenticate as this user. */
  readonly aliases: readonly { readonly username: string; readonly password: string }[]
  /** Sessions over HTTP/1.1 and HTTP/2 together; null for no limit. */
  readonly maxTcpSessions: number | null
  /** Sessions over HTTP/3; null for no limit. */
  readonly maxQuicSessions: number | null
}

export interface User {
  readonly name: string
  readonly maxTcpSessions: number | null
  readonly maxQuicSessions: number | null
}

interface Entry {
  readonly user: User | undefined
  readonly digests: readonly Buffer[]
}

/** The user that every request is when the endpoint has no credentials at all (loopback only). */
export const ANONYMOUS: User = { name: 'anonymous', maxTcpSessions: null, maxQuicSessions: null }

export class Directory {
  readonly #entries = new Map<string, Entry>()
  readonly #salt = randomBytes(32)
  /** Stands in for a user who does not exist, so that the work is the same. */
  readonly #nobody: Entry

  constructor(clients: readonly ClientCredentials[]) {
    this.#nobody = { user: undefined, digests: [this.#digest(randomBytes(32))] }
    for (const { username, password, aliases, maxTcpSessions, maxQuicSessions } of clients) {
      const user = { name: username, maxTcpSessions, maxQuicSessions }
      for (const spelling of [{ username, password }, ...aliases]) this.#add(user, spelling)
    }
  }

  get isEmpty(): boolean {
    return this.#entries.size === 0
  }

  /**
   * The user of a `proxy-authorization` value. Undefined for a missing, malformed or unknown one alike:
   * each takes one parse, one digest and one comparison in constant time.
   */
  authenticate(header: string | undefined): User | undefined {
    if (this.isEmpty) return ANONYMOUS
    const given = parseBasicAuth(header) ?? NO_CREDENTIALS
    const entry = this.#entries.get(given.username) ?? this.#nobody
    const digest = this.#digest(given.password)
    let matches = false
    for (const expected of entry.digests) matches = timingSafeEqual(expected, digest) || matches
    return matches ? entry.user : undefined
  }

  #add(user: User, { username, password }: { username: string; password: string }): void {
    const digest = this.#digest(Buffer.from(password))
    const entry = this.#entries.get(username)
    if (entry !== undefined && entry.user?.name !== user.name) return
    this.#entries.set(username, { user, digests: [...(entry?.digests ?? []), digest] })
  }

  /** Fixed length and salted: comparing tells nothing about the length or a prefix of a password. */
  #digest(password: Uint8Array): Buffer {
    return hash('sha256', Buffer.concat([this.#salt, password]), 'buffer')
  }
}

const NO_CREDENTIALS = { username: '', password: Buffer.alloc(32) }
