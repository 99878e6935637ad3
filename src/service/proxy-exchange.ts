/**
 * One request forwarded to an origin. Both directions run at once and neither waits for the other (failure F19);
 * each stops reading when the other side does not take more. Every way out leads through `#finish`.
 */
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TunnelRequest } from '../tunnel/session.ts'
import type { ForwardOptions, OriginProxy } from './origin-proxy.ts'
import { discardContent } from './discard.ts'
import { forwardedRequestHeaders, forwardedResponseHeaders } from './proxy-headers.ts'
import { Pump } from './pump.ts'
import type { PumpOutcome } from './pump.ts'
import { requestContent } from './request-content.ts'
import type { RequestContent } from './request-content.ts'
import type { Watched } from './stall-watch.ts'
import { isUpgradable } from './upgradable-request.ts'
import { UpgradedConnection } from './upgraded-connection.ts'

/** Why the client was not served; a counter's label. */
type Failure = 'bad_request' | 'connect' | 'timeout' | 'origin' | 'response_cut' | 'upgrade'

export class ProxyExchange implements Watched {
  readonly #request: TunnelRequest
  readonly #proxy: OriginProxy
  readonly #options: ForwardOptions
  readonly #onFinish: () => void
  #content: RequestContent = { kind: 'none' }
  #outgoing: ClientRequest | undefined
  #socket: Socket | undefined
  #uplink: Pump | undefined
  #downlink: Pump | undefined
  #upgraded: UpgradedConnection | undefined
  #answered = false
  #uplinkDone = false
  #downlinkDone = false
  #finished = false

  constructor(request: TunnelRequest, proxy: OriginProxy, options: ForwardOptions, onFinish: () => void) {
    this.#request = request
    this.#proxy = proxy
    this.#options = options
    this.#onFinish = onFinish
  }

  start(): void {
    this.#request.signal.addEventListener('abort', this.#onAbort)
    if (this.#request.signal.aborted) return this.#finish()
    this.#proxy.watch.add(this)
    this.#begin().catch(() => this.#fail('bad_request', 400))
  }

  destroy(): void {
    if (this.#finished) return
    this.#request.reset('cancel')
    this.#finish()
  }

  progress(): number {
    const socket = this.#socket
    return socket ? socket.bytesRead + socket.bytesWritten : 0
  }

  limitMs(): number {
    const { responseTimeoutMs, idleTimeoutMs } = this.#proxy.options
    return this.#answered ? idleTimeoutMs : responseTimeoutMs
  }

  onStall(): void {
    this.#fail('timeout', 504)
  }

  async #begin(): Promise<void> {
    const asTunnel = this.#options.method === 'CONNECT'
    const content: RequestContent | undefined = asTunnel
      ? { kind: 'none' }
      : await requestContent(this.#request, this.#proxy.deps.clock)
    if (this.#finished) return
    if (content === undefined) return this.#fail('bad_request', 400)
    this.#content = content
    this.#send(true)
  }

  #send(mayReuse: boolean): void {
    const request = this.#request
    const upgrade = this.#upgradeOffer()
    // Only what has no content can be sent again when a kept connection turns out to be closed.
    const reuse = mayReuse && this.#content.kind === 'none' && upgrade === undefined
    const outgoing = this.#proxy.pool.open(
      {
        method: this.#options.method ?? request.method,
        path: request.path ?? '/',
        headers: {
          host: request.authority || this.#proxy.pool.authority,
          ...forwardedRequestHeaders(request.headers),
          ...this.#framing(),
          ...(upgrade === undefined ? {} : { connection: 'upgrade', upgrade }),
          ...this.#options.headers,
        },
      },
      { reuse },
    )
    this.#outgoing = outgoing
    outgoing.on('socket', (socket) => this.#onSocket(outgoing, socket))
    outgoing.on('response', (response) => this.#onResponse(response))
    outgoing.on('upgrade', (response, socket, head) => this.#onUpgrade(response, socket, head))
    outgoing.on('connect', (response, socket, head) => this.#onConnect(response, socket, head))
    outgoing.on('error', (error) => this.#onOriginError(outgoing, error))
    if (this.#content.kind !== 'none') return this.#startUplink(outgoing)
    this.#uplinkDone = true
    outgoing.end()
    // What becomes a tunnel is read later.
    if (upgrade === undefined && this.#options.method !== 'CONNECT') request.body.resume()
  }

  /** The protocol to switch to, when both the client and its transport can. */
  #upgradeOffer(): string | undefined {
    return isUpgradable(this.#request) ? this.#request.headers.upgrade : undefined
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
    // Not with the first content: the origin may answer on the head alone.
    outgoing.flushHeaders()
    this.#uplink = new Pump(this.#request.body, outgoing, {
      limitBytes,
      onDone: (outcome) => this.#onUplinkDone(outcome),
    })
  }

  #onUplinkDone(outcome: PumpOutcome): void {
    this.#uplinkDone = true
    if (outcome === 'ended') return this.#finishWhenDone()
    if (outcome === 'sink_lost') {
      // The origin reads no more; what it answered still goes to the client, and errors are told elsewhere.
      discardContent(this.#request, this.#proxy.deps.clock)
      return this.#finishWhenDone()
    }
    // The client broke off: what the origin has is not a request.
    if (!this.#answered) return this.#fail('bad_request', 400)
    this.#request.reset('cancel')
    this.#finish()
  }

  #onSocket(outgoing: ClientRequest, socket: Socket): void {
    this.#socket = socket
    if (!socket.connecting) return
    const { clock } = this.#proxy.deps
    const timer = clock.after(this.#proxy.options.connectTimeoutMs, () => this.#fail('timeout', 504))
    socket.once('connect', () => timer.cancel())
    outgoing.once('close', () => timer.cancel())
  }

  #onResponse(response: IncomingMessage): void {
    if (this.#finished) return void response.destroy()
    this.#answered = true
    const status = response.statusCode ?? 502
    const bodyless = this.#request.method === 'HEAD' || status === 204 || status === 304
    const headers = forwardedResponseHeaders(response.headers, this.#proxy.deps.pages.opening())
    try {
      const sink = this.#request.respond(status, headers, { endStream: bodyless })
      if (bodyless) {
        response.resume()
        this.#downlinkDone = true
        return this.#finishWhenDone()
      }
      this.#downlink = new Pump(response, sink, { onDone: (outcome) => this.#onDownlinkDone(outcome) })
    } catch {
      // A status or field that the client's HTTP version cannot carry.
      this.#answered = false
      this.#fail('origin', 502)
    }
  }

  #onDownlinkDone(outcome: PumpOutcome): void {
    this.#downlinkDone = true
    if (outcome === 'ended') return this.#finishWhenDone()
    if (outcome === 'source_lost') return this.#fail('response_cut', 502)
    this.#finish()
  }

  #onUpgrade(response: IncomingMessage, socket: Duplex, head: Buffer): void {
    const request = this.#request
    socket.on('error', ignoreError)
    if (this.#finished || !isUpgradable(request) || this.#upgradeOffer() === undefined) {
      socket.destroy()
      return this.#fail('upgrade', 502)
    }
    this.#answered = true
    const { upgrade } = response.headers
    const headers = forwardedResponseHeaders(response.headers, this.#proxy.deps.pages.opening())
    const client = request.upgrade(upgrade === undefined ? headers : { ...headers, upgrade })
    if (head.length > 0) socket.unshift(head)
    this.#upgraded = new UpgradedConnection(client, socket, this.#proxy.deps.clock, () => {
      this.#uplinkDone = this.#downlinkDone = true
      this.#finish()
    })
  }

  /** The origin took the request for a CONNECT (reference 7): everything after the head is the response's content. */
  #onConnect(response: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', ignoreError)
    if (this.#finished) return void socket.destroy()
    this.#answered = true
    const headers = forwardedResponseHeaders(response.headers, this.#proxy.deps.pages.opening())
    if (head.length > 0) socket.unshift(head)
    const sink = this.#request.respond(response.statusCode ?? 502, headers)
    this.#uplinkDone = false
    this.#uplink = new Pump(this.#request.body, socket, { onDone: (outcome) => this.#onUplinkDone(outcome) })
    this.#downlink = new Pump(socket, sink, { onDone: (outcome) => this.#onDownlinkDone(outcome) })
  }

  #onOriginError(outgoing: ClientRequest, error: Error): void {
    if (this.#finished || outgoing !== this.#outgoing) return
    // After the answer has begun, the response itself reports how it ended.
    if (this.#answered) return
    if (outgoing.reusedSocket && this.#content.kind === 'none') return this.#send(false)
    const refused = 'syscall' in error && error.syscall === 'connect'
    this.#fail(refused ? 'connect' : 'origin', 502)
  }

  readonly #onAbort = (): void => {
    this.#finish()
  }

  #fail(reason: Failure, status: number): void {
    if (this.#finished) return
    this.#proxy.deps.counters.count('proxy_failures', reason)
    if (this.#answered) this.#request.reset('internal_error')
    else this.#proxy.deps.pages.send(this.#request, status)
    this.#finish()
  }

  #finishWhenDone(): void {
    if (this.#uplinkDone && this.#downlinkDone) this.#finish()
  }

  #finish(): void {
    if (this.#finished) return
    this.#finished = true
    this.#request.signal.removeEventListener('abort', this.#onAbort)
    this.#proxy.watch.remove(this)
    this.#uplink?.stop()
    this.#downlink?.stop()
    const complete = this.#uplinkDone && this.#downlinkDone
    // A complete exchange leaves its connection to the pool; everything else must not be used again.
    if (!complete) {
      this.#upgraded?.destroy()
      this.#outgoing?.destroy()
      this.#socket?.destroy()
    }
    this.#onFinish()
  }
}

function ignoreError(): void {}
