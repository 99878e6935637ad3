/** One HTTP/1.1 connection as a session: requests one after another, until one of them becomes a tunnel. */
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import type { Exchange } from '../../contract/exchange.ts'
import type { Session } from '../../contract/session.ts'
import type { AcceptSession, SessionListener } from '../../contract/session-listener.ts'
import { SessionLife } from '../session-life.ts'
import type { TransportConnection } from '../tls.ts'
import type { Http1Style } from './head.ts'

export interface Http1Dependencies {
  clock: Clock
  counters: Counters
  acceptSession: AcceptSession
  style: Http1Style
}

/** How long the client may take to close its side after the last answer. */
const LINGER_MS = 2000

export class Http1Session extends SessionLife implements Session {
  readonly id
  override readonly protocol = 'HTTP1'
  readonly channel
  readonly remoteAddress
  readonly remotePort
  readonly serverName
  readonly connection: TransportConnection
  readonly #headTimeoutMs: number
  readonly #deps: Http1Dependencies
  #listener: SessionListener | undefined
  /** Set while no request is under way. */
  #headDeadline: Timer | undefined
  /** Set once the last answer has been given. */
  #lingerDeadline: Timer | undefined
  #openStreams = 0
  /** The connection has become a tunnel: nothing on it is HTTP any more. */
  tunnelling = false

  constructor(connection: TransportConnection, headTimeoutMs: number, deps: Http1Dependencies) {
    super(deps.clock, deps.counters)
    this.connection = connection
    this.#headTimeoutMs = headTimeoutMs
    this.id = connection.id
    this.channel = connection.channel
    this.remoteAddress = connection.remoteAddress
    this.remotePort = connection.remotePort
    this.serverName = connection.serverName
    this.#deps = deps
  }

  get style(): Http1Style {
    return this.#deps.style
  }

  get openStreams(): number {
    return this.#openStreams
  }

  listen(): void {
    this.#listener = this.#deps.acceptSession(this)
    this.#awaitHead()
    this.connection.socket.on('error', (error) => this.fail(error))
    this.connection.socket.once('close', () => {
      this.#headDeadline?.cancel()
      this.#lingerDeadline?.cancel()
      this.#openStreams = 0
      this.settle()
      this.#listener?.onClose(this.error)
    })
  }

  onExchange(exchange: Exchange): void {
    this.#headDeadline?.cancel()
    this.#openStreams++
    this.#listener?.onExchange(exchange)
  }

  /** An exchange is over; the connection may carry another unless it is draining. */
  onRequestDone(): void {
    if (this.state === 'closed') return
    this.#openStreams--
    if (this.state === 'draining') this.connection.socket.end()
    else if (this.#openStreams === 0) this.#awaitHead()
  }

  /** When the head has not arrived in time, the connection ends without an answer, as nginx does it. */
  #awaitHead(): void {
    this.#headDeadline = this.#deps.clock.after(this.#headTimeoutMs, () => {
      this.#deps.counters.count('http1_head_timeouts')
      this.destroy(new Error('no request in time'))
    })
  }

  /** Answers bytes that cannot be parsed as a web server would. */
  onMalformed(error: NodeJS.ErrnoException & { rawPacket?: Buffer }): void {
    this.fail(error)
    // The content of a request is broken, not its head: the answer under way is to be the last.
    if (this.#openStreams > 0) return this.drain()
    const { style, clock } = this.#deps
    const answer = style.malformedAnswer(error.rawPacket ?? Buffer.alloc(0), error.code ?? '', clock.wall())
    if (answer === undefined) this.connection.socket.end()
    else this.endWith(answer)
  }

  /** Sends a complete answer, the last one on this connection. */
  endWith(answer: Buffer): void {
    this.drain()
    this.connection.socket.end(answer)
    // Unread input would turn the close into a reset that destroys the answer.
    this.connection.socket.resume()
    this.destroyLater()
  }

  protected override onDrain(): void {
    if (this.#openStreams === 0) this.connection.socket.end()
  }

  protected override onDestroy(): void {
    this.connection.socket.destroy()
  }

  /** After an answer that ends the connection, the client gets a moment to close its side. */
  destroyLater(): void {
    this.#lingerDeadline ??= this.#deps.clock.after(LINGER_MS, () => this.connection.socket.destroy())
  }

  /** TCP RST: the only reset that HTTP/1.1 has. */
  resetConnection(): void {
    const raw: Socket = this.connection.rawSocket
    raw.resetAndDestroy()
    this.connection.socket.destroy()
  }
}
