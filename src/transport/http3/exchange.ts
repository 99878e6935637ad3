/** One HTTP/3 stream as an exchange (RFC 9114 sections 4.1 and 4.4). */
import type { Duplex, Readable, Writable } from 'node:stream'
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
import { composeResponse } from './fields.ts'
import type { RequestHead } from './fields.ts'
import { releaseChunk } from './lent-chunk.ts'
import type { Http3Field } from './native.ts'
import type { Http3Stream } from './stream.ts'

/** Sends the head of a response. */
export type Respond = (stream: number, fields: readonly Http3Field[], fin: boolean) => void

/** What `Http3Connect` and `Http3Plain` share. */
abstract class Http3Exchange {
  readonly session: Session
  readonly channel: Channel
  protected head: RequestHead
  protected readonly stream: Http3Stream
  readonly #respond: Respond
  #abort: AbortController | undefined

  constructor(session: Session, channel: Channel, head: RequestHead, stream: Http3Stream, respond: Respond) {
    this.session = session
    this.channel = channel
    this.head = head
    this.stream = stream
    this.#respond = respond
  }

  get authority(): string {
    return this.head.authority
  }

  get headers(): RequestHeaders {
    return this.head.headers
  }

  get signal(): AbortSignal {
    this.#abort ??= this.#watch()
    return this.#abort.signal
  }

  refuse(status: number, headers: ResponseHeaders = {}): void {
    if (this.answer(status, headers, true)) this.stream.discardInput()
  }

  respond(status: number, headers: ResponseHeaders, { endStream = false } = {}): Writable {
    const dated = 'date' in headers ? headers : { date: new Date().toUTCString(), ...headers }
    this.answer(status, dated, endStream)
    // Do not wait for what the client still sends after the whole response.
    this.stream.once('finish', () => this.stream.discardInput())
    return this.stream
  }

  reset(reason: StreamReset): void {
    this.stream.resetFor(reason)
  }

  cancel(): void {
    this.#abort?.abort()
    this.reset('cancel')
  }

  protected answer(status: number, headers: ResponseHeaders, fin: boolean): boolean {
    if (this.stream.answered || this.stream.destroyed) return false
    this.stream.answered = true
    this.#respond(this.stream.id, composeResponse(status, headers), fin)
    if (fin) this.stream.endOutput()
    return true
  }

  #watch(): AbortController {
    const controller = new AbortController()
    const stream = this.stream
    const onClose = (): void => {
      if (stream.abandoned) controller.abort()
    }
    if (stream.destroyed) onClose()
    else stream.once('close', onClose)
    return controller
  }
}

export class Http3Connect extends Http3Exchange implements ConnectExchange, StreamEnd {
  readonly kind = 'connect'
  readonly method = 'CONNECT'
  readonly showsLoss = true

  keepFields(...names: readonly string[]): void {
    this.head = { ...this.head, headers: pickFields(this.head.headers, names) }
  }

  get io(): Duplex {
    return this.stream
  }

  get wasReset(): boolean {
    return this.stream.abandoned
  }

  /** Takes back a chunk that was read from `io` and has been written to the target. */
  recycle(chunk: Buffer): void {
    releaseChunk(chunk)
  }

  accept(headers: ResponseHeaders = {}, { endStream = false } = {}): StreamEnd {
    if (this.answer(200, headers, endStream) && endStream) this.stream.discardInput()
    return this
  }
}

export class Http3Plain extends Http3Exchange implements PlainExchange {
  readonly kind = 'plain'

  get method(): string {
    return this.head.method
  }

  get scheme(): RequestScheme | undefined {
    return this.head.scheme
  }

  get path(): string {
    return this.head.path ?? ''
  }

  body(): Readable {
    return this.stream
  }
}
