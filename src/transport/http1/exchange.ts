/** What a plain request and a CONNECT over HTTP/1.1 have in common as exchanges: the head, the answer, the end. */
import type { Writable } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { RequestHeaders, ResponseHeaders } from '../../contract/exchange.ts'
import type { Channel, Session } from '../../contract/session.ts'
import type { StreamEnd, StreamReset } from '../../contract/stream-end.ts'
import type { SoundHead } from '../../wire/http1/head.ts'
import { usualPhrase } from '../../wire/http1/usual-phrase.ts'
import { Http1Answer } from './answer.ts'
import type { AnswerFraming } from './answer.ts'
import { encodeHead } from './head.ts'
import type { Http1Style } from './head.ts'

/** What an exchange needs of its session. */
export interface ExchangeSession extends Session {
  readonly channel: Channel
  readonly socket: TLSSocket
  readonly style: Http1Style
  /** The client's EOF has arrived. */
  readonly clientEnded: boolean
  /** Whether the connection ends with an answer that is about to be given. */
  closesAfter(status: number, method: string): boolean
  /** The answer that has begun is the last one. */
  endAfterAnswer(): void
  /** The whole answer has left. */
  onAnswered(): void
  /** Text in latin1. It leaves together with what is written in the same turn. */
  writeHead(head: string): void
  /** What follows on the connection is no HTTP any more. */
  becomeTunnel(): StreamEnd
  /** For a tunnel that is over with its answer. */
  endTunnel(): void
  /** TCP RST: the only reset that HTTP/1.1 has. */
  resetConnection(): void
  /** The same for what is still worked on. */
  cancelConnection(): void
}

export abstract class Http1Exchange {
  readonly session: ExchangeSession
  readonly channel: Channel
  readonly minor: 0 | 1 | undefined
  protected head: RequestHeaders
  #abort: AbortController | undefined
  #answer: Http1Answer | undefined
  /** The answer has left, or the exchange has become a tunnel that has ended. */
  #finished = false

  constructor(session: ExchangeSession, head: SoundHead) {
    this.session = session
    this.channel = session.channel
    this.minor = head.minor
    this.head = head.headers
  }

  abstract readonly method: string

  get headers(): RequestHeaders {
    return this.head
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (!this.#finished && this.session.state === 'closed') this.#abort.abort()
    return this.#abort.signal
  }

  protected get answered(): boolean {
    return this.#answer !== undefined
  }

  refuse(status: number, headers: ResponseHeaders = {}): void {
    try {
      this.respond(status, { 'content-length': '0', ...headers }, { endStream: true })
    } catch {
      this.reset('internal_error')
    }
  }

  respond(status: number, headers: ResponseHeaders, { endStream = false } = {}): Writable {
    if (this.#answer !== undefined) return this.#answer
    const { session } = this
    const framing = this.#frame(status, headers, endStream)
    const closes = framing.kind === 'open' || session.closesAfter(status, this.method)
    if (this.minor !== undefined) {
      const extra = framing.kind === 'chunked' ? { 'transfer-encoding': 'chunked' } : {}
      const empty = framing.kind === 'sized' && endStream ? { 'content-length': '0' } : {}
      this.writeHead(1, status, { ...empty, ...headers, ...extra }, closes ? 'close' : 'keep-alive')
    }
    const answer = new Http1Answer(session.socket, framing)
    this.#answer = answer
    answer.once('finish', () => this.#onAnswered(answer))
    if (closes) session.endAfterAnswer()
    if (endStream) answer.end()
    if (session.state === 'closed') answer.destroy()
    return answer
  }

  #frame(status: number, headers: ResponseHeaders, endStream: boolean): AnswerFraming {
    const { 'content-length': length } = headers
    if (this.method === 'HEAD' || status < 200 || status === 204 || status === 304) return { kind: 'none' }
    if (endStream) return { kind: 'sized', bytes: 0 }
    if (typeof length === 'string') return { kind: 'sized', bytes: parseLength(length) }
    return this.minor === 1 ? { kind: 'chunked' } : { kind: 'open' }
  }

  /** Throws when a field cannot be sent. The head leaves together with the content that is written in this turn. */
  protected writeHead(
    minor: 0 | 1,
    status: number,
    headers: ResponseHeaders,
    connection: 'keep-alive' | 'close' | 'upgrade',
    words?: string,
  ): void {
    const { reason, fields } = this.session.style.formatHead(status, headers, connection)
    const phrase = words ?? (reason || usualPhrase(status))
    this.session.writeHead(encodeHead(minor, status, phrase, fields))
  }

  #onAnswered(answer: Http1Answer): void {
    this.#finished = true
    if (answer.isShort) this.session.resetConnection()
    else this.session.onAnswered()
  }

  reset(reason: StreamReset): void {
    if (reason === 'no_error') this.session.socket.destroy()
    else this.session.resetConnection()
  }

  cancel(): void {
    this.#abort?.abort()
    this.session.cancelConnection()
  }

  /** The session has ended; with `over`, in order: what has arrived may still be on its way to the target. */
  onSessionClose(over: boolean): void {
    this.#finished ||= over
    if (!this.#finished) this.#abort?.abort()
    this.#answer?.destroy()
  }

  /** The client sends nothing more on the connection. */
  onClientEnd(): void {}
}

function parseLength(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new TypeError('the length of an answer makes no sense')
  return Number(text)
}
