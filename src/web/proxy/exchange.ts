/**
 * One request forwarded to an origin. Both directions run at once and neither waits for the other; each stops reading
 * when the other side does not take more. Every way out goes through `#finish`.
 */
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../clock.ts'
import type { PlainExchange, ResponseHeaders } from '../../contract/exchange.ts'
import { EndpointError, isRefusal } from '../../errors.ts'
import type { IdleMonitor, IdleWatch } from '../../relay/idle-monitor.ts'
import { discardContent } from '../content.ts'
import { forwardedRequestHeaders, isInvalidHead } from './headers.ts'
import { OriginConnection } from './origin-connection.ts'
import { Pump } from './pump.ts'
import type { PumpOutcome } from './pump.ts'
import { requestContent } from './request-content.ts'
import type { RequestContent } from './request-content.ts'
import { pumpAsConnect } from './as-connect.ts'
import { relayUpgraded } from './upgrade.ts'

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

/** What differs from the request as it arrived. */
export interface ForwardOptions {
  /** Fields that the origin gets in addition to the client's. */
  headers?: Readonly<Record<string, string>>
  method?: string
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

/** The owner of an exchange: `OriginProxy` or `ForwardProxy`. */
export interface ExchangeOwner {
  readonly source: OriginSource
  readonly limits: ExchangeLimits
  readonly clock: Clock
  readonly idleMonitor: IdleMonitor
  /** The origin's `Host`. */
  hostFor(request: PlainExchange): string
  /** The fields that the client gets; undefined when it must not get this response. */
  responseHeaders(response: IncomingMessage, request: PlainExchange): ResponseHeaders | undefined
}

type ExchangeEnd =
  /** The client has the whole response. */
  | { readonly kind: 'complete' }
  /** The client is gone, or the exchange was destroyed. */
  | { readonly kind: 'left' }
  | {
      readonly kind: 'failed'
      readonly failure: ExchangeFailure
      /** For the answer that the request still waits for; undefined when the answer had begun and was reset. */
      readonly status: number | undefined
      readonly error: NodeJS.ErrnoException | undefined
    }

/** How an exchange ended, and how many bytes of content went to the origin and to the client. */
export type ExchangeOutcome = ExchangeEnd & { readonly uplinkBytes: number; readonly downlinkBytes: number }

export class ProxyExchange {
  readonly #request: PlainExchange
  readonly #owner: ExchangeOwner
  readonly #options: ForwardOptions
  readonly #outcome = Promise.withResolvers<ExchangeOutcome>()
  readonly #relayAbort = new AbortController()
  #content: RequestContent = { kind: 'none' }
  #outgoing: ClientRequest | undefined
  #socket: Socket | undefined
  #connection: OriginConnection | undefined
  #originError: Error | undefined
  #uplink: Pump | undefined
  #downlink: Pump | undefined
  #watch: IdleWatch | undefined
  #answered = false
  #uplinkDone = false
  /** Not all of the request's content went to the origin. */
  #uplinkCut = false
  #downlinkDone = false
  #finished = false

  constructor(request: PlainExchange, owner: ExchangeOwner, options: ForwardOptions) {
    this.#request = request
    this.#owner = owner
    this.#options = options
  }

  /** Call once. Never rejects. */
  run(): Promise<ExchangeOutcome> {
    if (this.#request.signal.aborted) this.#finish({ kind: 'left' })
    if (!this.#finished) {
      this.#request.signal.addEventListener('abort', this.#onAbort)
      this.#limitSilence(this.#owner.limits.responseTimeoutMs)
      this.#begin().catch((error: unknown) => this.#onThrown(error))
    }
    return this.#outcome.promise
  }

  destroy(): void {
    if (this.#finished) return
    this.#request.reset('cancel')
    this.#finish({ kind: 'left' })
  }

  #limitSilence(timeoutMs: number): void {
    this.#watch?.cancel()
    const moved = (): number => (this.#socket ? this.#socket.bytesRead + this.#socket.bytesWritten : 0)
    this.#watch = this.#owner.idleMonitor.watch(timeoutMs, moved, () => this.#fail('timeout', 504))
  }

  async #begin(): Promise<void> {
    const asTunnel = this.#options.method === 'CONNECT'
    const content: RequestContent | undefined = asTunnel
      ? { kind: 'none' }
      : await requestContent(this.#request, this.#owner.clock)
    if (this.#finished) return
    if (content === undefined) return this.#fail('bad_request', 400)
    this.#content = content
    this.#send(true)
  }

  /** The head cannot be sent, the origin has closed, or something of ours is wrong. */
  #onThrown(thrown: unknown): void {
    if (isInvalidHead(thrown)) return this.#fail('bad_request', 400)
    if (isRefusal(thrown)) return this.#fail('origin', 502, thrown)
    this.#fail('internal', 500, thrown instanceof Error ? thrown : new Error(String(thrown)))
  }

  #send(mayReuse: boolean): void {
    const request = this.#request
    const upgrade = this.#upgradeOffer()
    // Only a request without content can be sent again when a kept connection turns out to be closed.
    const reuse = mayReuse && this.#content.kind === 'none' && upgrade === undefined
    const outgoing = this.#owner.source.open(
      {
        method: this.#options.method ?? request.method,
        path: request.path,
        headers: {
          host: this.#owner.hostFor(request),
          ...forwardedRequestHeaders(request.headers),
          ...this.#framing(),
          ...(upgrade === undefined ? {} : { connection: 'upgrade', upgrade }),
          ...this.#options.headers,
        },
      },
      { reuse },
    )
    this.#outgoing = outgoing
    this.#originError = undefined
    outgoing.on('socket', (socket) => this.#onSocket(outgoing, socket))
    outgoing.on('response', (response) => this.#onResponse(response))
    outgoing.on('upgrade', (response, socket, head) => this.#onUpgrade(response, socket, head))
    outgoing.on('connect', (response, socket, head) => this.#onConnect(response, socket, head))
    outgoing.on('error', (error) => this.#onOriginError(outgoing, error))
    if (this.#content.kind !== 'none') return this.#startUplink(outgoing)
    this.#uplinkDone = true
    outgoing.end()
    // What becomes a tunnel is read later.
    if (upgrade === undefined && this.#options.method !== 'CONNECT') request.body().resume()
  }

  /**
   * The protocol to switch to, when both the client and its transport can. Any other would open up the whole origin.
   */
  #upgradeOffer(): 'websocket' | undefined {
    return this.#request.upgrade && isWebSocket(this.#request.headers.upgrade) ? 'websocket' : undefined
  }

  #framing(): Record<string, string> {
    switch (this.#content.kind) {
      case 'sized':
        return { 'content-length': String(this.#content.bytes) }
      case 'chunked':
        return { 'transfer-encoding': 'chunked' }
      case 'none':
        return /^(?:POST|PUT|PATCH)$/.test(this.#request.method) ? { 'content-length': '0' } : {}
    }
  }

  #startUplink(outgoing: ClientRequest): void {
    const limitBytes = this.#content.kind === 'sized' ? this.#content.bytes : undefined
    // Do not wait for the first content: the origin may answer as soon as it has the head.
    outgoing.flushHeaders()
    this.#uplink = new Pump(this.#request.body(), outgoing, {
      limitBytes,
      onDone: (outcome) => this.#onUplinkDone(outcome),
    })
  }

  #onUplinkDone(outcome: PumpOutcome): void {
    this.#uplinkDone = true
    if (outcome === 'ended') return this.#finishWhenDone()
    // The origin's answer still goes to the client; errors are reported elsewhere.
    if (outcome === 'sink_lost') return this.#cutUplink()
    // The client broke off: what the origin has is not a complete request.
    if (!this.#answered) return this.#fail('bad_request', 400)
    this.#request.reset('cancel')
    this.#finish({ kind: 'left' })
  }

  /**
   * The origin reads no more, or need not. What the client still sends is read and discarded, so that the client gets
   * to read the answer.
   */
  readonly #cutUplink = (): void => {
    this.#uplinkDone = this.#uplinkCut = true
    this.#uplink?.stop()
    this.#request.body().resume()
    this.#finishWhenDone()
  }

  #onSocket(outgoing: ClientRequest, socket: Socket): void {
    this.#socket = socket
    this.#connection = OriginConnection.of(socket)
    this.#connection.onFailure = () => this.#uplinkDone || this.#cutUplink()
    if (!socket.connecting) return
    const { clock, limits } = this.#owner
    const timer = clock.after(limits.connectTimeoutMs, () => this.#fail('timeout', 504))
    socket.once('connect', () => timer.cancel())
    outgoing.once('close', () => timer.cancel())
  }

  #onResponse(response: IncomingMessage): void {
    if (this.#finished) return void response.destroy()
    const headers = this.#owner.responseHeaders(response, this.#request)
    if (headers === undefined) return this.#fail('origin', 502)
    this.#begunAnswer()
    const status = response.statusCode ?? 502
    const bodyless = this.#request.method === 'HEAD' || status === 204 || status === 304
    try {
      const sink = this.#request.respond(status, headers, { endStream: bodyless })
      if (bodyless) {
        response.resume()
        return this.#onDownlinkDone('ended')
      }
      this.#downlink = new Pump(response, sink, {
        isWhole: () => isFramed(response) || !(this.#originError || this.#connection?.wasReset),
        onDone: (outcome) => this.#onDownlinkDone(outcome),
      })
      if (status >= 400 && closes(response) && !this.#uplinkDone) this.#cutUplink()
    } catch {
      // The client's HTTP version cannot carry this status or one of the fields.
      this.#answered = false
      this.#fail('origin', 502)
    }
  }

  #onDownlinkDone(outcome: PumpOutcome): void {
    if (outcome === 'ended') {
      this.#downlinkDone = true
      // The response is complete: the origin needs no more of the request.
      return this.#uplinkDone ? this.#finishWhenDone() : this.#cutUplink()
    }
    if (outcome === 'source_lost') return this.#fail('response_cut', 502, this.#reasonOfCut())
    this.#finish({ kind: 'left' })
  }

  #onUpgrade(response: IncomingMessage, socket: Socket, head: Buffer): void {
    const request = this.#request
    socket.on('error', ignoreError)
    const headers = this.#owner.responseHeaders(response, this.#request)
    const expected = this.#upgradeOffer() !== undefined && isWebSocket(response.headers.upgrade)
    if (this.#finished || !expected || !request.upgrade || headers === undefined) {
      socket.destroy()
      return this.#fail('upgrade', 502)
    }
    this.#begunAnswer()
    const client = request.upgrade({ ...headers, upgrade: 'websocket' })
    const { idleMonitor, limits } = this.#owner
    request.signal.removeEventListener('abort', this.#onAbort)
    this.#watch?.cancel()
    const signal = AbortSignal.any([request.signal, this.#relayAbort.signal])
    const options = { idleMonitor, idleTimeoutMs: limits.idleTimeoutMs, signal }
    void relayUpgraded(client, socket, head, options).then(() => this.#finish({ kind: 'complete' }))
  }

  /** The origin took the request for a CONNECT. */
  #onConnect(response: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', ignoreError)
    if (this.#finished) return void socket.destroy()
    const headers = this.#owner.responseHeaders(response, this.#request)
    if (headers === undefined) return this.#fail('origin', 502)
    this.#begunAnswer()
    const sink = this.#request.respond(response.statusCode ?? 502, headers)
    this.#uplinkDone = false
    const pumps = pumpAsConnect(this.#request, sink, socket, head, {
      uplink: (outcome) => this.#onUplinkDone(outcome),
      downlink: (outcome) => this.#onDownlinkDone(outcome),
    })
    this.#uplink = pumps.uplink
    this.#downlink = pumps.downlink
  }

  #begunAnswer(): void {
    this.#answered = true
    this.#limitSilence(this.#owner.limits.idleTimeoutMs)
  }

  #onOriginError(outgoing: ClientRequest, error: Error): void {
    if (this.#finished || outgoing !== this.#outgoing) return
    this.#originError = error
    // After the answer has begun, the response itself reports how it ended.
    if (this.#answered) return
    if (outgoing.reusedSocket && this.#content.kind === 'none') return this.#send(false)
    if (error instanceof EndpointError) return this.#fail('no_descriptor', 503)
    const refused = 'syscall' in error && error.syscall === 'connect'
    this.#fail(refused ? 'connect' : 'origin', 502, error)
  }

  #reasonOfCut(): Error {
    return this.#originError ?? this.#connection?.error ?? new Error('closed before the end of its response')
  }

  readonly #onAbort = (): void => {
    this.#finish({ kind: 'left' })
  }

  #fail(failure: ExchangeFailure, status: number, error?: Error): void {
    if (this.#finished) return
    const answered = this.#answered
    this.#finish({ kind: 'failed', failure, status: answered ? undefined : status, error })
    if (answered) this.#request.reset('internal_error')
  }

  #finishWhenDone(): void {
    if (this.#uplinkDone && this.#downlinkDone) this.#finish({ kind: 'complete' })
  }

  #finish(end: ExchangeEnd): void {
    if (this.#finished) return
    this.#finished = true
    this.#request.signal.removeEventListener('abort', this.#onAbort)
    this.#watch?.cancel()
    this.#uplink?.stop()
    this.#downlink?.stop()
    this.#relayAbort.abort()
    if (this.#connection) this.#connection.onFailure = undefined
    // A complete exchange returns its connection to the pool; after any other, the connection must not be used again.
    if (end.kind !== 'complete' || this.#uplinkCut) {
      this.#outgoing?.destroy()
      this.#socket?.destroy()
    }
    if (this.#downlinkDone && end.kind === 'complete') discardContent(this.#request, this.#owner.clock)
    const bytes = { uplinkBytes: this.#uplink?.bytes ?? 0, downlinkBytes: this.#downlink?.bytes ?? 0 }
    this.#outcome.resolve({ ...end, ...bytes })
  }
}

/** Whether its end can be told from a broken connection. */
function isFramed({ headers }: IncomingMessage): boolean {
  return 'content-length' in headers || 'transfer-encoding' in headers
}

/** Whether the origin will read no more of the request (RFC 9112 section 9.5). */
function closes({ headers }: IncomingMessage): boolean {
  return /(?:^|,)\s*close\s*(?:,|$)/i.test(headers.connection ?? '')
}

function isWebSocket(upgrade: string | undefined): boolean {
  return upgrade?.toLowerCase() === 'websocket'
}

function ignoreError(): void {}
