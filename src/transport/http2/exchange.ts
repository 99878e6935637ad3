/** One HTTP/2 stream as an exchange (RFC 9113 sections 8.3 and 8.5). */
import type { Duplex, Readable, Writable } from 'node:stream'
import type {
  ConnectExchange,
  PlainExchange,
  RequestHeaders,
  RequestScheme,
  ResponseHeaders,
} from '../../contract/exchange.ts'
import type { Cancellation, CancellationListener } from '../../contract/cancellation.ts'
import type { Channel, Session } from '../../contract/session.ts'
import type { StreamEnd, StreamReset } from '../../contract/stream-end.ts'
import type { TunnelLoss, TunnelStream } from '../../contract/tunnel-stream.ts'
import { ErrorCode } from '../../wire/http2/protocol.ts'
import { parseScheme } from '../../wire/authority.ts'
import { pickFields } from '../kept-fields.ts'
import type { LingerQueue, Lingering } from '../linger.ts'
import type { AnswerHeads } from './answer-heads.ts'
import type { RequestHead } from './request-head.ts'
import { StreamDuplex } from './stream-duplex.ts'
import { RESET_CODES } from './reset-codes.ts'
import type { Http2Stream, StreamOwner } from './stream.ts'

/** What the exchanges of a session share. */
export interface ExchangeHost {
  readonly session: Session & { readonly channel: Channel }
  readonly answers: AnswerHeads
  readonly linger: LingerQueue
}

/** What `Http2Connect` and `Http2Plain` share. */
abstract class Http2Exchange implements Cancellation, Lingering, StreamOwner {
  protected readonly stream: Http2Stream
  protected readonly host: ExchangeHost
  #duplex: StreamDuplex | undefined
  #abort: AbortController | undefined
  #aborted = false
  #listener: CancellationListener | undefined
  #answered = false
  /** Whatever happens to the stream now, the exchange was not cut short. */
  #finished = false

  constructor(host: ExchangeHost, stream: Http2Stream) {
    this.host = host
    this.stream = stream
    stream.owner = this
  }

  get session(): Session {
    return this.host.session
  }

  get channel(): Channel {
    return this.host.session.channel
  }

  get cancellation(): Cancellation {
    return this
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#aborted) this.#abort.abort()
    }
    return this.#abort.signal
  }

  /** Implements {@link Cancellation}, as do the next two. */
  get aborted(): boolean {
    return this.#aborted
  }

  addEventListener(_type: 'abort', listener: CancellationListener): void {
    this.#listener = listener
  }

  removeEventListener(_type: 'abort', listener: CancellationListener): void {
    if (this.#listener === listener) this.#listener = undefined
  }

  #giveUp(): void {
    if (this.#aborted) return
    this.#aborted = true
    this.#abort?.abort()
    this.#listener?.handleEvent()
  }

  onStreamClosed(how: 'ended' | TunnelLoss): void {
    if (how === 'ended') return this.#readToEnd()
    if (how === 'left' && this.outlivesClient) return
    if (!this.#finished) this.#giveUp()
    this.#duplex?.destroy()
  }

  /** Goes on after the client has left in order. */
  protected abstract readonly outlivesClient: boolean

  /** What nobody has begun to read by now is of no use; an end that nobody reads is not told. */
  #readToEnd(): void {
    if (this.#duplex?.readableFlowing === null) this.#duplex.resume()
    else this.#duplex?.read(0)
  }

  get closed(): boolean {
    return this.stream.isClosed
  }

  refuse(status: number, headers: ResponseHeaders = {}): void {
    try {
      if (!this.answer(status, headers, true)) return
    } catch {
      return this.reset('internal_error')
    }
    this.#finished = true
    if (this.stream.isClosed) return
    this.stream.discard()
    this.host.linger.add(this)
  }

  respond(status: number, headers: ResponseHeaders, { endStream = false } = {}): Writable {
    const io = this.duplex()
    if (!this.answer(status, headers, endStream)) return io
    if (endStream) this.#stopUnread()
    else io.once('finish', () => this.#stopUnread())
    return io
  }

  reset(reason: StreamReset): void {
    this.#leave(RESET_CODES[reason])
  }

  cancel(): void {
    this.#finished = true
    this.#giveUp()
    this.stream.cancel()
  }

  /** Implements {@link Lingering}. */
  release(): void {
    this.#leave(ErrorCode.NO_ERROR)
  }

  protected duplex(): StreamDuplex {
    if (this.#duplex === undefined) {
      this.#duplex = new StreamDuplex(this.stream)
      // The client did not wait for what is about to be written.
      if (this.stream.isClosed) this.#duplex.destroy()
    }
    return this.#duplex
  }

  protected get answered(): boolean {
    return this.#answered
  }

  /** False when there can be no answer any more. */
  protected answer(status: number, headers: ResponseHeaders, endStream: boolean): boolean {
    if (this.#answered || this.stream.isClosed) return false
    // Throws for fields that cannot be sent; then another answer may follow.
    this.host.answers.send(this.stream, status, headers, endStream)
    this.#answered = true
    return true
  }

  /**
   * Our answer is complete, the request is not: asks the client to stop, at once as nginx does (RFC 9113 section 8.1).
   */
  #stopUnread(): void {
    this.#finished = true
    if (!this.stream.remoteEnded) this.#leave(ErrorCode.NO_ERROR)
  }

  #leave(code: number): void {
    this.#finished = true
    this.stream.resetWith(code, 'left')
    this.#duplex?.destroy()
  }
}

export class Http2Connect extends Http2Exchange implements ConnectExchange, StreamEnd {
  readonly kind = 'connect'
  readonly method = 'CONNECT'
  readonly showsLoss = true
  readonly authority: string
  /** The rest of the head is of no use. */
  #fields: RequestHeaders
  #wasReset = false

  constructor(host: ExchangeHost, stream: Http2Stream, head: RequestHead) {
    super(host, stream)
    this.authority = head.authority
    this.#fields = head.fields
  }

  get headers(): RequestHeaders {
    return this.#fields
  }

  get io(): Duplex {
    this.stream.keepsWrites = true
    return this.duplex()
  }

  get direct(): TunnelStream {
    return this.stream
  }

  get wasReset(): boolean {
    return this.#wasReset
  }

  /** It may have sent something that its target has not taken yet. */
  protected override get outlivesClient(): boolean {
    return this.answered
  }

  override onStreamClosed(how: 'ended' | TunnelLoss): void {
    this.#wasReset = how === 'reset'
    super.onStreamClosed(how)
  }

  keepFields(...names: readonly string[]): void {
    this.#fields = pickFields(this.#fields, names)
  }

  accept(headers: ResponseHeaders = {}, { endStream = false } = {}): StreamEnd {
    if (endStream) this.refuse(200, headers)
    else this.answer(200, headers, false)
    return this
  }
}

export class Http2Plain extends Http2Exchange implements PlainExchange {
  readonly kind = 'plain'
  protected override readonly outlivesClient = false
  readonly #head: RequestHead

  constructor(host: ExchangeHost, stream: Http2Stream, head: RequestHead) {
    super(host, stream)
    this.#head = head
  }

  get authority(): string {
    return this.#head.authority
  }

  get headers(): RequestHeaders {
    return this.#head.fields
  }

  get method(): string {
    return this.#head.method
  }

  get scheme(): RequestScheme | undefined {
    return parseScheme(this.#head.scheme)
  }

  get path(): string {
    return this.#head.path
  }

  get malformed(): number | undefined {
    return this.#head.refusal
  }

  body(): Readable {
    return this.duplex()
  }

  withholdWindow(): void {
    this.stream.keepsWindow = true
  }
}
