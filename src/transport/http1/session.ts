/**
 * One HTTP/1.1 connection as a session (RFC 9112 section 9): requests one after another, until one of them becomes a
 * tunnel. The next head is read when the answer is out and the request's content has been read or discarded; what
 * arrives before that waits, up to a limit, and is not looked at.
 *
 *     head -> exchange -> head ...   the connection is kept
 *                      -> ending     our last answer is out: input is discarded until the client ends, or its time
 *                      -> tunnel     CONNECT was accepted, or the protocol changed
 */
import type { Clock, Timer } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import type { AcceptSession, SessionListener } from '../../contract/session-listener.ts'
import type { StreamEnd } from '../../contract/stream-end.ts'
import { HeadReader } from '../../wire/http1/head.ts'
import type { RefusedHead, SoundHead } from '../../wire/http1/head.ts'
import { SessionLife } from '../session-life.ts'
import type { SlabPool } from '../slab-pool.ts'
import type { TransportConnection } from '../tls.ts'
import { Http1Connect } from './connect.ts'
import type { ExchangeSession } from './exchange.ts'
import type { Http1Style } from './head.ts'
import { Http1PlainExchange } from './plain.ts'
import { RequestContent } from './request-content.ts'
import { Http1Tunnel } from './tunnel.ts'
import type { TunnelConnection } from './tunnel.ts'
import { WaitingInput } from './waiting-input.ts'

export interface Http1Options {
  /** For a head, from the end of the handshake or from its first byte; nginx's `client_header_timeout`. */
  headTimeoutMs: number
  /** From an answer to the first byte of the next head; nginx's `keepalive_timeout`. */
  idleTimeoutMs: number
  /** Requests of a connection, and how long it may be kept; nginx's `keepalive_requests` and `keepalive_time`. */
  maxRequests: number
  maxAgeMs: number
}

export interface Http1Dependencies {
  clock: Clock
  counters: Counters
  acceptSession: AcceptSession
  style: Http1Style
  slabs: SlabPool
}

/** nginx's `send_timeout`: how long a client may take nothing of what is being sent to it. */
const SEND_TIMEOUT_MS = 60_000
/** nginx's `lingering_timeout` and `lingering_time`: silence, and the whole of what is discarded after an answer. */
const LINGER_SILENCE_MS = 5000
const LINGER_MS = 30_000

type Phase = 'head' | 'exchange' | 'tunnel' | 'ending'

export class Http1Session extends SessionLife implements ExchangeSession, TunnelConnection {
  readonly id
  override readonly protocol = 'HTTP1'
  readonly channel
  readonly remoteAddress
  readonly remotePort
  readonly serverName
  readonly socket
  readonly #rawSocket
  readonly #options: Http1Options
  readonly #deps: Http1Dependencies
  #listener: SessionListener | undefined
  #phase: Phase = 'head'
  #reader: HeadReader | undefined
  #exchange: Http1PlainExchange | Http1Connect | undefined
  #content: RequestContent | undefined
  #tunnel: Http1Tunnel | undefined
  readonly #waiting = new WaitingInput()
  #answered = false
  /** The answer that is under way is the last one. */
  #last = false
  #requests = 0
  #trusted = false
  readonly #startedAt: number
  #timer: Timer | undefined
  #lingerUntil = 0
  #moving = false
  #corked = false
  clientEnded = false
  /** Ended from our side. */
  cancelled = false

  constructor(connection: TransportConnection, options: Http1Options, deps: Http1Dependencies) {
    super(deps.clock, deps.counters)
    this.socket = connection.socket
    this.#rawSocket = connection.rawSocket
    this.#options = options
    this.#deps = deps
    this.#startedAt = deps.clock.now()
    this.id = connection.id
    this.channel = connection.channel
    this.remoteAddress = connection.remoteAddress
    this.remotePort = connection.remotePort
    this.serverName = connection.serverName
  }

  get style(): Http1Style {
    return this.#deps.style
  }

  get slabs(): SlabPool {
    return this.#deps.slabs
  }

  get openStreams(): number {
    return (this.#phase === 'exchange' && !this.#answered) || this.#phase === 'tunnel' ? 1 : 0
  }

  listen(): void {
    this.#listener = this.#deps.acceptSession(this)
    this.#setTimer(this.#options.headTimeoutMs, () => this.#onHeadTimeout())
    this.socket.on('error', (error) => this.fail(error))
    this.socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.socket.once('end', () => {
      this.#revealLoss()
      this.#onEnd()
    })
    this.socket.once('close', () => this.#onClose())
  }

  #onData(chunk: Buffer): void {
    switch (this.#phase) {
      case 'head':
        return this.#readHead(chunk)
      case 'exchange':
        this.#keep(chunk)
        return this.#moveContent()
      case 'tunnel':
        if (this.#tunnel?.started) this.#tunnel.onData(chunk)
        else this.#keep(chunk)
        return
      case 'ending':
        return this.#linger()
    }
  }

  #keep(chunk: Buffer): void {
    this.#waiting.add(chunk)
    if (this.#waiting.isTooMuch) this.socket.pause()
  }

  /** {@link TunnelConnection} */
  takeInput(): Buffer[] {
    const input = this.#waiting.takeAll()
    this.socket.resume()
    return input
  }

  #readHead(chunk: Buffer): void {
    const wasIdle = this.#reader?.begun !== true
    this.#reader ??= new HeadReader({ tunnels: true })
    const head = this.#reader.push(chunk)
    if (head === undefined) {
      // The first head has its time from the beginning of the connection.
      if (wasIdle && this.#reader.begun && this.#requests > 0)
        this.#setTimer(this.#options.headTimeoutMs, () => this.#onHeadTimeout())
      return
    }
    this.#waiting.putBack(chunk.subarray(this.#reader.consumed))
    this.#reader = undefined
    this.#watchSending()
    this.#requests++
    this.#phase = 'exchange'
    this.#answered = false
    this.#last = false
    this.#content = new RequestContent(head.content, () => this.#moveContent())
    if (head.kind === 'refused') return this.#refuse(head)
    this.#last = !head.keepAlive
    this.#beginExchange(head, this.#content)
  }

  /** A client that does not read would keep its answer, and all that waits behind it, for good. */
  #watchSending(): void {
    const before = this.#rawSocket.bytesWritten
    this.#setTimer(SEND_TIMEOUT_MS, () => {
      if (this.socket.writableLength === 0 || this.#rawSocket.bytesWritten !== before)
        return this.#watchSending()
      this.#deps.counters.count('http1_send_timeouts')
      this.destroy(new Error('the client takes nothing'))
    })
  }

  #beginExchange(head: SoundHead, content: RequestContent): void {
    this.#exchange =
      head.method === 'CONNECT' ? new Http1Connect(this, head) : new Http1PlainExchange(this, head, content)
    this.#listener?.onExchange(this.#exchange)
    this.#moveContent()
  }

  /** Answers as a web server would; the connection ends with it. */
  #refuse(head: RefusedHead): void {
    const { style, clock, counters } = this.#deps
    counters.count('http1_malformed_requests', head.fault)
    if (head.fault !== 'method') this.fail(new Error(`refused a head: ${head.fault}`))
    this.#last = true
    this.socket.write(style.encodeRefusal(head, clock.wall()), () => this.onAnswered())
  }

  override trust(): void {
    this.#trusted = true
  }

  /** {@link ExchangeSession} */
  closesAfter(status: number, method: string): boolean {
    const { style } = this.#deps
    return (
      this.#last ||
      this.state !== 'open' ||
      (!this.#trusted && this.#isWorn()) ||
      style.closesConnection(status, method) ||
      this.#content?.breaksIn(this.#waiting.pieces) === true
    )
  }

  /** A web server keeps a connection neither for ever nor for any number of requests. */
  #isWorn(): boolean {
    const { maxRequests, maxAgeMs } = this.#options
    return this.#requests >= maxRequests || this.#deps.clock.now() - this.#startedAt > maxAgeMs
  }

  /** {@link ExchangeSession} */
  endAfterAnswer(): void {
    this.#last = true
  }

  /** {@link ExchangeSession} */
  writeHead(head: string): void {
    if (!this.#corked) {
      this.#corked = true
      this.socket.cork()
      process.nextTick(() => {
        this.#corked = false
        this.socket.uncork()
      })
    }
    this.socket.write(head, 'latin1')
  }

  /** {@link ExchangeSession} */
  onAnswered(): void {
    if (this.state === 'closed' || this.#phase !== 'exchange') return
    this.#answered = true
    this.#lingerUntil = this.#deps.clock.now() + LINGER_MS
    this.#content?.discard()
    this.#moveContent()
  }

  /** Hands waiting input to the request's content, as far as somebody takes it; then goes on. */
  #moveContent(): void {
    const content = this.#content
    // Whoever gets a piece may ask for more before this one has been accounted for.
    if (this.#phase !== 'exchange' || content === undefined || this.#moving) return
    this.#moving = true
    while (content.wanted) {
      const chunk = this.#waiting.takeOldest()
      if (chunk === undefined) break
      this.#waiting.putBack(chunk.subarray(content.push(chunk)))
    }
    if (this.clientEnded && content.wanted) content.cut()
    this.#moving = false
    if (!this.#waiting.isTooMuch) this.socket.resume()
    if (this.#answered) this.#afterAnswer(content)
  }

  #afterAnswer(content: RequestContent): void {
    if (content.done) {
      if (this.#last || this.state !== 'open') this.#end()
      else this.#nextRequest()
    } else if (content.malformed || this.clientEnded) this.#end()
    else this.#linger()
  }

  #nextRequest(): void {
    this.#exchange = undefined
    this.#content = undefined
    this.#phase = 'head'
    this.#setTimer(this.#options.idleTimeoutMs, () => this.#end())
    while (this.#phase === 'head') {
      const chunk = this.#waiting.takeOldest()
      if (chunk === undefined) break
      this.#readHead(chunk)
    }
    if (!this.#waiting.isTooMuch) this.socket.resume()
    if (this.clientEnded && this.#phase === 'head') this.#onEnd()
  }

  /** Our side ends. What the client still sends is discarded: left unread, it would turn the end into a reset. */
  #end(): void {
    if (this.#phase === 'ending') return
    this.#phase = 'ending'
    this.takeInput()
    this.#lingerUntil = this.#deps.clock.now() + LINGER_MS
    this.socket.end()
    this.#linger()
  }

  /** The client may stay silent for a while, and send for a longer one. */
  #linger(): void {
    const left = this.#lingerUntil - this.#deps.clock.now()
    if (left <= 0) return void this.socket.destroy()
    this.#setTimer(Math.min(left, LINGER_SILENCE_MS), () => void this.socket.destroy())
  }

  /** {@link ExchangeSession} */
  becomeTunnel(): StreamEnd {
    this.#phase = 'tunnel'
    this.#timer?.cancel()
    this.#content = undefined
    this.#tunnel = new Http1Tunnel(this)
    return this.#tunnel
  }

  /** {@link ExchangeSession} */
  endTunnel(): void {
    this.#end()
  }

  /**
   * When a write of TLS itself fails, as that of session tickets does for a client that asks and resets at once, Node
   * tells nobody, and writes nothing more (src/crypto/crypto_tls.cc, OnStreamAfterWrite); the reset then looks like EOF.
   * A write below TLS fails again if it was one. It is empty, and sends nothing otherwise.
   */
  #revealLoss(): void {
    if (this.socket.writableEnded) return
    this.#rawSocket.write('', (error) => {
      // Not what failed with our own end of the connection.
      if (error && !this.socket.destroyed) this.fail(error)
    })
  }

  #onEnd(): void {
    this.clientEnded = true
    switch (this.#phase) {
      case 'head':
        // nginx leaves without a word when a head is cut.
        if (this.#reader?.begun) this.socket.destroy()
        else this.#end()
        return
      case 'exchange':
        this.#exchange?.onClientEnd()
        return this.#moveContent()
      case 'tunnel':
        if (this.#tunnel?.started) this.#tunnel.onEnd()
        return
      case 'ending':
    }
  }

  #onClose(): void {
    this.#timer?.cancel()
    this.#waiting.takeAll()
    const exchange = this.#exchange
    this.#phase = 'ending'
    this.settle()
    this.#content?.cut()
    this.#tunnel?.onClose()
    exchange?.onSessionClose(this.#tunnel?.over === true)
    this.#listener?.onClose(this.error)
  }

  #setTimer(delayMs: number, run: () => void): void {
    this.#timer?.cancel()
    this.#timer = this.#deps.clock.after(delayMs, run)
  }

  /** When the head has not arrived in time, the connection ends without an answer, as nginx does it. */
  #onHeadTimeout(): void {
    this.#deps.counters.count('http1_head_timeouts')
    if (this.#reader?.begun !== true) return this.#end()
    this.destroy(new Error('no request in time'))
  }

  protected override onDrain(): void {
    if (this.#phase === 'head' || this.#phase === 'ending') this.socket.destroySoon()
  }

  protected override onDestroy(): void {
    this.cancelled = true
    this.socket.destroy()
  }

  /** {@link ExchangeSession} */
  resetConnection(): void {
    const { writableEnded, writableFinished, writableLength } = this.socket
    // While only our FIN is under way, libuv refuses a reset, and the descriptor would be lost (`relay/tcp-end.ts`).
    const isFinishing = writableEnded && !writableFinished && writableLength === 0
    if (!isFinishing) this.#rawSocket.resetAndDestroy()
    this.socket.destroy()
  }

  /** {@link ExchangeSession} */
  cancelConnection(): void {
    this.cancelled = true
    this.resetConnection()
  }
}
