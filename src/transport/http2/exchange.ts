/** One HTTP/2 stream as an exchange (RFC 9113 sections 8.3 and 8.5). */
import { constants } from 'node:http2'
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { Readable } from 'node:stream'
import type { Duplex, Writable } from 'node:stream'
import type {
  ConnectExchange,
  PlainExchange,
  RequestHeaders,
  RequestScheme,
  ResponseHeaders,
} from '../../contract/exchange.ts'
import type { Channel, Session } from '../../contract/session.ts'
import type { StreamEnd, StreamReset } from '../../contract/stream-end.ts'
import { pickFields } from '../kept-fields.ts'
import type { LingerQueue, Lingering } from '../linger.ts'
import { parseScheme } from '../../wire/authority.ts'

const RESET_CODES: Record<StreamReset, number> = {
  no_error: constants.NGHTTP2_NO_ERROR,
  cancel: constants.NGHTTP2_CANCEL,
  connect_error: constants.NGHTTP2_CONNECT_ERROR,
  excessive_load: constants.NGHTTP2_ENHANCE_YOUR_CALM,
  internal_error: constants.NGHTTP2_INTERNAL_ERROR,
}

/** Answers to CONNECT carry no `date`: they are not cached, and the reference endpoint sends none. */
const CONNECT_ANSWER = { sendDate: false } as const
const CONNECT_ANSWER_AND_END = { sendDate: false, endStream: true } as const

/** What `Http2Connect` and `Http2Plain` share. */
abstract class Http2Exchange implements Lingering {
  readonly session: Session
  readonly channel: Channel
  protected readonly stream: ServerHttp2Stream
  protected raw: IncomingHttpHeaders
  readonly #linger: LingerQueue
  protected fields: RequestHeaders | undefined
  #abort: AbortController | undefined
  #finished = false

  constructor(
    session: Session & { readonly channel: Channel },
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    linger: LingerQueue,
  ) {
    this.session = session
    this.channel = session.channel
    this.stream = stream
    this.raw = headers
    this.#linger = linger
    // The code of a peer's reset is not our error; readers learn of it from `close` without `end`.
    stream.on('error', ignoreError)
    stream.push = pushUnlessDestroyed
  }

  get authority(): string {
    return this.raw[':authority'] ?? this.raw.host ?? ''
  }

  get headers(): RequestHeaders {
    this.fields ??= flattenHeaders(this.raw)
    return this.fields
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      const controller = new AbortController()
      this.#abort = controller
      if (this.stream.destroyed) controller.abort()
    }
    return this.#abort.signal
  }

  /** Called by the session. */
  onStreamClose(): void {
    if (this.#abort !== undefined && !this.#isFinished()) this.#abort.abort()
  }

  get closed(): boolean {
    return this.stream.closed || this.stream.destroyed
  }

  refuse(status: number, headers: ResponseHeaders = {}): void {
    this.answer(status, headers, CONNECT_ANSWER_AND_END)
  }

  respond(status: number, headers: ResponseHeaders, { endStream = false } = {}): Writable {
    this.answer(status, headers, { endStream })
    if (!endStream) this.stream.once('finish', () => this.#stopUnread())
    return this.stream
  }

  reset(reason: StreamReset): void {
    this.#finished = true
    const stream = this.stream
    if (stream.destroyed || (stream.closed && reason !== 'no_error')) return
    // `close` ends an open writable side first (nodejs/node lib/internal/http2/core.js, closeStream): END_STREAM would
    // go out before RST_STREAM, and truncated content would look complete.
    if (reason !== 'no_error' && !stream.writableEnded) stream.end = () => stream
    stream.close(RESET_CODES[reason])
  }

  cancel(): void {
    this.#abort?.abort()
    this.reset('cancel')
  }

  /** Implements {@link Lingering}. */
  release(): void {
    this.stream.close(constants.NGHTTP2_NO_ERROR)
  }

  protected answer(
    status: number,
    headers: ResponseHeaders,
    options: { sendDate?: false; endStream?: boolean },
  ): void {
    if (this.closed || this.stream.headersSent) return
    this.stream.respond({ ...(headers as OutgoingHttpHeaders), ':status': status }, options)
    if (options.endStream) this.#discardRest()
  }

  #isFinished(): boolean {
    const { headersSent, readableEnded, writableFinished, rstCode } = this.stream
    // Node ends our side of a stream that its client leaves; without an answer it still is not finished.
    const whole = headersSent && readableEnded && writableFinished
    return this.#finished || (whole && rstCode === constants.NGHTTP2_NO_ERROR)
  }

  /**
   * Our answer is complete, the request is not: asks the client to stop, at once as nginx does (RFC 9113 section 8.1).
   */
  #stopUnread(): void {
    if (!this.stream.readableEnded && !this.closed) this.stream.close(constants.NGHTTP2_NO_ERROR)
  }

  #discardRest(): void {
    this.#finished = true
    if (this.stream.readableEnded) return
    this.stream.resume()
    this.#linger.add(this)
  }
}

export class Http2Connect extends Http2Exchange implements ConnectExchange, StreamEnd {
  readonly kind = 'connect'
  readonly method = 'CONNECT'
  readonly showsLoss = true

  get io(): Duplex {
    return this.stream
  }

  keepFields(...names: readonly string[]): void {
    this.fields = pickFields(this.headers, names)
    this.raw = { ':authority': this.authority }
  }

  get wasReset(): boolean {
    return this.stream.rstCode !== constants.NGHTTP2_NO_ERROR
  }

  accept(headers: ResponseHeaders = {}, { endStream = false } = {}): StreamEnd {
    this.answer(200, headers, endStream ? CONNECT_ANSWER_AND_END : CONNECT_ANSWER)
    // If nobody has read from a stream by the time our side ends, Node closes it (core.js, kMaybeDestroy).
    if (!endStream) this.stream.read(0)
    return this
  }
}

export class Http2Plain extends Http2Exchange implements PlainExchange {
  readonly kind = 'plain'

  get method(): string {
    return this.raw[':method'] ?? ''
  }

  get scheme(): RequestScheme | undefined {
    return parseScheme(this.raw[':scheme'])
  }

  get path(): string {
    return this.raw[':path'] ?? ''
  }

  body(): Readable {
    return this.stream
  }
}

function ignoreError(): void {}

/**
 * Node pushes EOF into a stream that it destroys because it was reset or its session is lost
 * (lib/internal/http2/core.js, `_destroy`): truncated content would look complete.
 */
function pushUnlessDestroyed(this: ServerHttp2Stream, chunk: unknown, encoding?: BufferEncoding): boolean {
  if (chunk === null && this.destroyed) return false
  return Readable.prototype.push.call(this, chunk, encoding)
}

/** Drops pseudo-header fields and joins what Node left as lists. */
function flattenHeaders(raw: IncomingHttpHeaders): RequestHeaders {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(raw)) {
    if (value === undefined || name.startsWith(':')) continue
    headers[name] = Array.isArray(value) ? value.join(', ') : value
  }
  return headers
}
