/** A user, as far as the data plane needs to know. */

export interface User {
  readonly name: string
  /** Sessions over HTTP/1.1 and HTTP/2 together; null means no limit. */
  readonly maxTcpSessions: number | null
  /** Sessions over HTTP/3; null means no limit. */
  readonly maxQuicSessions: number | null
}

/** What valid credentials give. */
export interface Grant {
  readonly user: User
  /** Milliseconds since the Unix epoch; Infinity when they are valid until the next snapshot. */
  readonly validUntil: number
}
