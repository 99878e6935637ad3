/** One HTTP connection of a client, in any HTTP version. */

/** Label values of the metrics, the same as the reference endpoint's. */
export type ProtocolLabel = 'HTTP1' | 'HTTP2' | 'HTTP3'

/** What a host is for, according to its list in `hosts.toml`. */
export type Channel = 'main' | 'ping' | 'speedtest' | 'reverse_proxy' | 'decoy'

export interface Session {
  /** Unique within the process. */
  readonly id: string
  readonly protocol: ProtocolLabel
  /** The client's address without zone or port; IPv4-mapped addresses appear as IPv4. */
  readonly remoteAddress: string
  readonly remotePort: number
  /** SNI, lower case; undefined when the client sent none or the transport cannot tell. */
  readonly serverName: string | undefined
  readonly state: 'open' | 'draining' | 'closed'
  /** Streams that are neither finished nor reset, tunnels or not. */
  readonly openStreams: number
  /** A user has authenticated: limits and windows that are for visitors hold no more. Idempotent. */
  trust(): void
  /**
   * Stops new requests (GOAWAY, `Connection: close`), lets open streams finish for up to `graceMs`, then destroys.
   * Idempotent; resolves when closed.
   */
  close(options: { graceMs: number }): Promise<void>
  /** Ends everything now; an `EndpointError` `credentials_revoked` is announced to the client. Idempotent. */
  destroy(reason: Error): void
}
