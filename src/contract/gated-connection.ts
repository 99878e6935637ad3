/** A TCP connection that the gate has let through to TLS: its ClientHello was read and put back. */
import type { Socket } from 'node:net'
import type { Channel } from './session.ts'

export interface GatedConnection {
  readonly socket: Socket
  /** Canonical; IPv4-mapped as IPv4; what the balancer says when there is one. */
  readonly remoteAddress: string
  readonly remotePort: number
  /** SNI in lower case. */
  readonly serverName: string | undefined
  /** ALPN offer in the client's order; empty when there is none. */
  readonly alpn: readonly string[]
  readonly channel: Channel
  /** The host's place in the list that gate and TLS were given. */
  readonly certificateIndex: number
  /** To be called when the TLS handshake has succeeded or failed; idempotent. Closing the socket does it too. */
  handshakeDone(): void
}
