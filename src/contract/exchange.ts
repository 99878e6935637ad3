/**
 * One request and its answer (RFC 9110 section 3.4), in any HTTP version: a CONNECT, which may become a tunnel, or a
 * plain request. The three transports are tested by one contract suite.
 */
import type { Readable, Writable } from 'node:stream'
import type { Cancellation } from './cancellation.ts'
import type { Channel, Session } from './session.ts'
import type { StreamEnd, StreamReset } from './stream-end.ts'

/**
 * Header names in lower case, no pseudo-headers; repeated fields joined by ", " (RFC 9110 section 5.3), cookies by ";
 * ".
 */
export type RequestHeaders = Readonly<Record<string, string>>
/** A list value is sent as repeated fields (`set-cookie`). Names in lower case. */
export type ResponseHeaders = Readonly<Record<string, string | readonly string[]>>

/** The scheme of a plain request's target. */
export type RequestScheme = 'http' | 'https'

/** Exactly one answer is given, once: `accept` or `upgrade`, `refuse`, or `respond`. */
export type Exchange = ConnectExchange | PlainExchange

interface AnyExchange {
  readonly session: Session
  /**
   * The channel of the host that the client asks: over TCP by the server name in its ClientHello, over HTTP/3 by
   * `:authority`.
   */
  readonly channel: Channel
  /** As received: `:authority`, the authority-form target, or `Host`. */
  readonly authority: string
  readonly headers: RequestHeaders
  /** Aborted when the client resets the stream or the session ends; never after the stream is finished. */
  readonly signal: AbortSignal
  /** The same where the transport can tell without an `AbortSignal`. */
  readonly cancellation?: Cancellation
  /** Sends a status with an empty body and END_STREAM. What the client still sends is discarded. Never throws. */
  refuse(status: number, headers?: ResponseHeaders): void
  /** Sends status and headers, and returns the stream for the response's content (already ended with `endStream`). */
  respond(status: number, headers: ResponseHeaders, options?: { endStream?: boolean }): Writable
  /** Ends the exchange abruptly. Idempotent; never throws. */
  reset(reason: StreamReset): void
  /** The same for an exchange that is still worked on: {@link signal} is aborted too. */
  cancel(): void
}

export interface ConnectExchange extends AnyExchange {
  readonly kind: 'connect'
  readonly method: 'CONNECT'
  /** Drops all fields but these: what waits for its refusal, or has become a tunnel, must not keep its whole head. */
  keepFields(...names: readonly string[]): void
  /** Sends 200 and hands over the client's end of the tunnel. With `endStream` the 200 carries END_STREAM. */
  accept(headers?: ResponseHeaders, options?: { endStream?: boolean }): StreamEnd
}

export interface PlainExchange extends AnyExchange {
  readonly kind: 'plain'
  /** Any but CONNECT. */
  readonly method: string
  /** `:scheme`, or the scheme of an absolute-form target; undefined for any other scheme, and in origin-form. */
  readonly scheme: RequestScheme | undefined
  /** Its head makes no sense, whatever it asks for: a web server answers this status. */
  readonly malformed?: number | undefined
  /** Origin-form path with query. */
  readonly path: string
  /**
   * The request's content, the same stream at each call. Asking for it invites the client to send it where it waits for
   * that (`Expect: 100-continue`). Reading exerts backpressure; the content need not be read, and stays readable
   * alongside the response.
   */
  body(): Readable
  /**
   * Where a client may send a limited amount unasked: its content is of no use, so it is given leave for no more, as
   * nginx does. It is read all the same.
   */
  withholdWindow?(): void
  /**
   * HTTP/1.1 only: aborted when the client ends its side of the connection before it has the answer. A web server still
   * answers; but code that would continue for long without hearing from the client must assume that it is gone.
   */
  leaving?(): AbortSignal
  /**
   * Present when the client asks to leave HTTP on this connection and may (RFC 9110 section 7.8): answers 101 with
   * `headers` (including `upgrade`; the transport adds `connection`) and hands the connection over.
   */
  readonly upgrade?: ((headers: ResponseHeaders) => StreamEnd) | undefined
}
