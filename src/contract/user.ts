/** Who a client is, as far as the data plane asks. */

export interface User {
  readonly name: string
  /** Sessions over HTTP/1.1 and HTTP/2 together; null for no limit. */
  readonly maxTcpSessions: number | null
  /** Sessions over HTTP/3; null for no limit. */
  readonly maxQuicSessions: number | null
}

/** What credentials stand for. */
export interface Grant {
  readonly user: User
  /** Milliseconds since the Unix epoch; Infinity when they hold until the next snapshot. */
  readonly validUntil: number
}
