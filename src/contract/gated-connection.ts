/** A TCP connection that the gate has let through to TLS. Its ClientHello was read and put back. */
import type { Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { Channel } from './session.ts'

/** A host that the endpoint answers for. */
export interface Host {
  readonly channel: Channel
  /** A pattern (`wire/host-name.ts`). */
  readonly hostname: string
  /** Further names for the same host. */
  readonly allowedSni: readonly string[]
  /** The certificate that TLS shows; opaque to everyone else. */
  readonly certificate: SecureContext
}

export interface GatedConnection {
  readonly socket: Socket
  /** Canonical; IPv4-mapped as IPv4; the address that the balancer names when there is one. */
  readonly remoteAddress: string
  readonly remotePort: number
  /** SNI in lower case. */
  readonly serverName: string | undefined
  /** ALPN offer in the client's order; empty when there is none. */
  readonly alpn: readonly string[]
  /** The host's own channel, or `decoy` where the host stands in for an unknown name. */
  readonly channel: Channel
  readonly host: Host
  /** Call when the TLS handshake has succeeded or failed; closing the socket has the same effect. Idempotent. */
  handshakeDone(): void
}
