/** One HTTP connection of a client, whatever its version. */

/** Label values of the metrics, as the reference endpoint has them. */
export type ProtocolLabel = 'HTTP1' | 'HTTP2' | 'HTTP3'

/** What a host is there for, as its list in `hosts.toml` says. */
export type Channel = 'main' | 'ping' | 'speedtest' | 'reverse_proxy' | 'decoy'

export interface Session {
  /** Unique in the process. */
  readonly id: string
  readonly protocol: ProtocolLabel
  /** The client's address without zone or port; IPv4-mapped forms are given as IPv4. */
  readonly remoteAddress: string
  readonly remotePort: number
  /** SNI, lower case; undefined when the client sent none or the transport cannot tell. */
  readonly serverName: string | undefined
  readonly state: 'open' | 'draining' | 'closed'
  /** Streams that are neither finished nor reset, tunnels or not. */
  readonly openStreams: number
  /** Stops new requests (GOAWAY, `Connection: close`), lets open streams finish for `graceMs`, then destroys. Idempotent; resolves when closed. */
  close(options: { graceMs: number }): Promise<void>
  /** Ends everything now; with an `EndpointError` `credentials_revoked` the client is told that. Idempotent. */
  destroy(reason: Error): void
}
