/**
 * What every transport turns its protocol into (DESIGN section 2). Nothing here names an HTTP version
 * beyond the label; the three transports are tested by one contract suite.
 */
import type { Duplex, Readable, Writable } from 'node:stream'
import type { StreamReset } from '../errors.ts'

/** Label values of the reference endpoint's metrics. */
export type ProtocolLabel = 'HTTP1' | 'HTTP2' | 'HTTP3'

/** What a host is there for, as its list in `hosts.toml` says. */
export type Channel = 'main' | 'ping' | 'speedtest' | 'reverse_proxy' | 'decoy'

/** Header names in lower case, no pseudo-headers; repeated fields joined by ", " (RFC 9110 section 5.3), cookies by "; ". */
export type RequestHeaders = Readonly<Record<string, string>>
/** A list value is sent as repeated fields (`set-cookie`). Names in lower case. */
export type ResponseHeaders = Readonly<Record<string, string | readonly string[]>>

/** What a plain request's target is spoken over; CONNECT has none. */
export type RequestScheme = 'http' | 'https'

/** One HTTP connection of a client. */
export interface ClientSession {
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
  /** Ends everything now. Idempotent. */
  destroy(reason: Error): void
}

/** Both directions of an accepted CONNECT. */
export interface TunnelStream {
  /**
   * Readable: what the client sends; `end` is the client's END_STREAM. Writable: what the client receives;
   * `end()` sends END_STREAM and leaves the other direction open. Backpressure is real both ways.
   * A reset by the client, or the loss of the session, destroys it: `close` without `end`.
   */
  readonly io: Duplex
  /** The client has reset it with an error code: tells that from an orderly leave once `io` has closed. */
  readonly wasReset: boolean
  /** Ends both directions abruptly with the transport's code for `reason`. Idempotent; never throws. */
  reset(reason: StreamReset): void
}

/** One request of any method, as it arrived. Exactly one of `accept`, `refuse` and `respond` is called, once. */
export interface TunnelRequest {
  readonly session: ClientSession
  /** Of the host that the client asks: over TCP by the server name in its ClientHello, over HTTP/3 by `:authority`. */
  readonly channel: Channel
  readonly method: string
  /** `:scheme`, or that of an absolute-form target; undefined for another, in origin-form, and for CONNECT. */
  readonly scheme: RequestScheme | undefined
  /** As received: `:authority`, the authority-form target, or `Host`. */
  readonly authority: string
  /** Origin-form path with query; undefined for CONNECT. */
  readonly path: string | undefined
  readonly headers: RequestHeaders
  /** Aborted when the client resets the stream or the session ends; never after the stream is finished. */
  readonly signal: AbortSignal
  /**
   * HTTP/1.1 only: aborted when the client ends its side of the connection before it has the answer. A web server
   * answers nevertheless; who would go on for long without a sign of the client takes it for gone.
   */
  readonly leaving?: AbortSignal
  /** CONNECT only: sends 200 and hands over the stream. With `endStream` the 200 carries END_STREAM. */
  accept(headers?: ResponseHeaders, options?: { endStream?: boolean }): TunnelStream
  /** Sends a status with an empty body and END_STREAM. What the client still sends is discarded. Never throws. */
  refuse(status: number, headers?: ResponseHeaders): void
  /** Any method but CONNECT: the request's content. Reading it exerts backpressure; it need not be read. */
  readonly body: Readable
  /** Any method but CONNECT: sends status and headers, and gives the response's content (ends at once with `endStream`). `body` stays readable meanwhile. */
  respond(status: number, headers: ResponseHeaders, options?: { endStream?: boolean }): Writable
  /** Ends the exchange abruptly. Idempotent; never throws. */
  reset(reason: StreamReset): void
}

/** What a transport reports about one session. */
export interface SessionListener {
  onRequest(request: TunnelRequest): void
  /** Once; `error` when it did not end in order. No request follows. */
  onClose(error?: Error): void
}

/** Called by a transport for each session whose handshake is complete. */
export type AcceptSession = (session: ClientSession) => SessionListener
