/**
 * A client's exchange, forwarded as one request to an origin, and its way back. This is what the modes have in
 * common (plain, an offer to upgrade, CONNECT): opening at the origin, once more when a kept connection turns out to be
 * closed; the limits of time; who is at fault when it fails. Every way out goes through `#finish`.
 */
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import type { Clock } from '../../clock.ts'
import type { PlainExchange, ResponseHeaders } from '../../contract/exchange.ts'
import { EndpointError, isRefusal } from '../../errors.ts'
import type { IdleMonitor, IdleWatch } from '../../relay/idle-monitor.ts'
import { discardContent } from '../content.ts'
import { ContentFlow } from './content-flow.ts'
import { forwardedRequestHeaders, isInvalidHead } from './headers.ts'
import { OriginConnection } from './origin-connection.ts'

export interface OutgoingHead {
  readonly method: string
  readonly path: string
  readonly headers: OutgoingHttpHeaders
}

/** Where requests go: `OriginPool`, or a connection that is already open. */
export interface OriginSource {
  /**
   * Begins a request. With `reuse` it may go over a kept connection, which the origin may close at the same moment, so
   * use that only for requests that can be sent again. Throws when the head cannot be sent as HTTP, and an
   * `EndpointError` when the connection that was open has closed.
   */
  open(head: OutgoingHead, options: { reuse: boolean }): ClientRequest
}

export interface ExchangeLimits {
  connectTimeoutMs: number
  /** Limit until the response's head, while nothing moves in either direction. */
  responseTimeoutMs: number
  /** Limit once the response has begun, also for an upgraded connection. */
  idleTimeoutMs: number
}

/** Why the client was not served; the label of a counter. */
export type ExchangeFailure =
  | 'bad_request'
  | 'connect'
  /** No descriptor was left for a connection. */
  | 'no_descriptor'
  | 'timeout'
  | 'origin'
  | 'response_cut'
  | 'upgrade'
  /** A fault of ours. */
  | 'internal'

/** Who forwards an exchange: `OriginProxy` or `ForwardProxy`. */
export interface RequestOwner {
  readonly source: OriginSource
  readonly limits: ExchangeLimits
  readonly clock: Clock
  readonly idleMonitor: IdleMonitor
  /** The origin's `Host`. */
  hostFor(exchange: PlainExchange): string
  /** The fields that the client gets; undefined when it must not get this response. */
  responseHeaders(response: IncomingMessage, exchange: PlainExchange): ResponseHeaders | undefined
}

type ExchangeEnd =
  /** The client has the whole response. */
  | { readonly kind: 'complete' }
  /** The client is gone, or the request was destroyed. */
  | { readonly kind: 'left' }
  | {
      readonly kind: 'failed'
      readonly failure: ExchangeFailure
      /** For the answer that the client still waits for; undefined when the answer had begun and was reset. */
      readonly status: number | undefined
      readonly error: NodeJS.ErrnoException | undefined
    }

/** How an exchange ended, and how many bytes of content went to the origin and to the client. */
export type ExchangeOutcome = ExchangeEnd & { readonly uplinkBytes: number; readonly downlinkBytes: number }

export abstract class OriginRequest {
  protected readonly exchange: PlainExchange
  protected readonly owner: RequestOwner
  protected readonly flow: ContentFlow
  readonly #addedHeaders: Readonly<Record<string, string>>
  readonly #outcome = Promise.withResolvers<ExchangeOutcome>()
  #outgoing: ClientRequest | undefined
  #socket: Socket | undefined
  #connection: OriginConnection | undefined
  #originError: Error | undefined
  #watch: IdleWatch | undefined
  #answered = false
  #finished = false

  /** The origin gets `addedHeaders` in addition to the client's. */
  constructor(
    exchange: PlainExchange,
    owner: RequestOwner,
    addedHeaders: Readonly<Record<string, string>> = {},
  ) {
    this.exchange = exchange
    this.owner = owner
    this.#addedHeaders = addedHeaders
    this.flow = new ContentFlow(() => exchange.body(), {
      onComplete: () => this.complete(),
      onRequestCut: () => this.#onRequestCut(),
      onAnswerCut: () => this.fail('response_cut', 502, this.#reasonOfCut()),
      onClientLost: () => this.#finish({ kind: 'left' }),
    })
  }

  protected abstract readonly method: string

  /** It may go over a kept connection, since it can be sent again when that turns out to be closed. */
  protected abstract readonly repeatable: boolean

  /** The fields of the mode. */
  protected abstract modeHeaders(): Record<string, string>

  /** Finds out what there is to send; may call {@link fail}. */
  protected abstract prepare(): Promise<void>

  /** Listens to how the origin answers, and sends. Called again, on a new connection, for a repeatable request. */
  protected abstract onOpen(outgoing: ClientRequest): void

  /** Ends what the mode has under way, except {@link flow}. */
  protected onFinish(): void {}

  /** Call once. Never rejects. */
  run(): Promise<ExchangeOutcome> {
    if (this.exchange.signal.aborted) this.#finish({ kind: 'left' })
    if (!this.#finished) {
      this.exchange.signal.addEventListener('abort', this.#onAbort)
      this.#limitSilence(this.owner.limits.responseTimeoutMs)
      this.#begin().catch((error: unknown) => this.#onThrown(error))
    }
    return this.#outcome.promise
  }

  destroy(): void {
    if (this.#finished) return
    this.exchange.reset('cancel')
    this.#finish({ kind: 'left' })
  }

  async #begin(): Promise<void> {
    await this.prepare()
    if (!this.#finished) this.#open(this.repeatable)
  }

  /** For what the origin answers: whatever is thrown there would end the process instead of this request. */
  protected guarded<Event extends unknown[]>(react: (...event: Event) => void): (...event: Event) => void {
    return (...event) => {
      try {
        react(...event)
      } catch (thrown) {
        this.#onThrown(thrown)
      }
    }
  }

  /** The head cannot be sent, the origin has closed, or something of ours is wrong. */
  #onThrown(thrown: unknown): void {
    if (isInvalidHead(thrown)) return this.fail('bad_request', 400)
    if (isRefusal(thrown)) return this.fail('origin', 502, thrown)
    this.fail('internal', 500, thrown instanceof Error ? thrown : new Error(String(thrown)))
  }

  #open(reuse: boolean): void {
    const { method, exchange, owner } = this
    const headers = {
      host: owner.hostFor(exchange),
      ...forwardedRequestHeaders(exchange.headers),
      ...this.modeHeaders(),
      ...this.#addedHeaders,
    }
    const outgoing = owner.source.open({ method, path: exchange.path, headers }, { reuse })
    this.#outgoing = outgoing
    this.#originError = undefined
    outgoing.on('socket', (socket) => this.#onSocket(outgoing, socket))
    outgoing.on(
      'error',
      this.guarded((error: Error) => this.#onOriginError(outgoing, error)),
    )
    this.onOpen(outgoing)
  }

  #onSocket(outgoing: ClientRequest, socket: Socket): void {
    this.#socket = socket
    this.#connection = OriginConnection.of(socket)
    this.#connection.onFailure = () => this.flow.cutUplink()
    if (!socket.connecting) return
    const { clock, limits } = this.owner
    const timer = clock.after(limits.connectTimeoutMs, () => this.fail('timeout', 504))
    socket.once('connect', () => timer.cancel())
    outgoing.once('close', () => timer.cancel())
  }

  #onOriginError(outgoing: ClientRequest, error: Error): void {
    if (this.#finished || outgoing !== this.#outgoing) return
    this.#originError = error
    // After the answer has begun, the response itself reports how it ended.
    if (this.#answered) return
    if (outgoing.reusedSocket && this.repeatable) return this.#open(false)
    if (error instanceof EndpointError) return this.fail('no_descriptor', 503)
    const refused = 'syscall' in error && error.syscall === 'connect'
    this.fail(refused ? 'connect' : 'origin', 502, error)
  }

  protected get finished(): boolean {
    return this.#finished
  }

  /** The end of what the origin sends may be no proper one. */
  protected get originFailed(): boolean {
    return this.#originError !== undefined || this.#connection?.wasReset === true
  }

  #reasonOfCut(): Error {
    return this.#originError ?? this.#connection?.error ?? new Error('closed before the end of its response')
  }

  protected headersFor(response: IncomingMessage): ResponseHeaders | undefined {
    return this.owner.responseHeaders(response, this.exchange)
  }

  /** The client gets an answer: from now on a failure resets it. */
  protected beginAnswer(): void {
    this.#answered = true
    this.#limitSilence(this.owner.limits.idleTimeoutMs)
  }

  /** Begins the client's answer; undefined when it has failed. */
  protected respond(
    status: number,
    headers: ResponseHeaders,
    options?: { endStream: boolean },
  ): Writable | undefined {
    try {
      const sink = this.exchange.respond(status, headers, options)
      this.beginAnswer()
      return sink
    } catch {
      // The client's HTTP version cannot carry this status or one of the fields.
      this.fail('origin', 502)
      return undefined
    }
  }

  #limitSilence(timeoutMs: number): void {
    this.#watch?.cancel()
    this.#watch = this.owner.idleMonitor.watch(timeoutMs, {
      activity: () => (this.#socket ? this.#socket.bytesRead + this.#socket.bytesWritten : 0),
      onIdle: () => this.fail('timeout', 504),
    })
  }

  readonly #onAbort = (): void => {
    this.#finish({ kind: 'left' })
  }

  /** From now on somebody else notices silence and the client's leaving. */
  protected stopWatching(): void {
    this.exchange.signal.removeEventListener('abort', this.#onAbort)
    this.#watch?.cancel()
  }

  #onRequestCut(): void {
    if (!this.#answered) return this.fail('bad_request', 400)
    this.exchange.reset('cancel')
    this.#finish({ kind: 'left' })
  }

  protected fail(failure: ExchangeFailure, status: number, error?: Error): void {
    if (this.#finished) return
    const answered = this.#answered
    this.#finish({ kind: 'failed', failure, status: answered ? undefined : status, error })
    if (answered) this.exchange.reset('internal_error')
  }

  /** The client has everything. */
  protected complete(): void {
    this.#finish({ kind: 'complete' })
  }

  #finish(end: ExchangeEnd): void {
    if (this.#finished) return
    this.#finished = true
    this.stopWatching()
    this.flow.stop()
    this.onFinish()
    if (this.#connection) this.#connection.onFailure = undefined
    const { uplinkCut, downlinkDone, uplinkBytes, downlinkBytes } = this.flow
    // A complete exchange returns its connection to the pool; after any other, the connection must not be used again.
    if (end.kind !== 'complete' || uplinkCut) {
      this.#outgoing?.destroy()
      this.#socket?.destroy()
    }
    this.#outcome.resolve({ ...end, uplinkBytes, downlinkBytes })
    if (downlinkDone && end.kind === 'complete') discardContent(this.exchange, this.owner.clock)
  }
}

/** A socket that is handed over needs a listener; whoever uses it notices its end in other ways. */
export function ignoreError(): void {}
