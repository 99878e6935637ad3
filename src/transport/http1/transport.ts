/**
 * HTTP/1.1 (RFC 9112, reference 1.5) as sessions and requests: one CONNECT turns the connection into a tunnel,
 * other requests may follow one another. Node parses; this file only translates.
 */
import http from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import type { AcceptSession, Session, SessionListener } from '../../contract/session.ts'
import { Http1Connect } from './connect.ts'
import { Http1PlainExchange } from './exchange.ts'
import type { Http1Style } from './head.ts'
import type { TransportConnection } from '../tls.ts'

export interface Http1Options {
  /** From the end of the handshake, or of the last answer, to the end of the next request's head. */
  headTimeoutMs: number
  maxHeadBytes: number
}

export interface Http1Dependencies {
  clock: Clock
  counters: Counters
  acceptSession: AcceptSession
  style: Http1Style
}

export class Http1Transport {
  readonly #options: Http1Options
  readonly #deps: Http1Dependencies
  readonly #server: Server
  readonly #sessions = new WeakMap<Duplex, Http1Session>()

  constructor(options: Http1Options, deps: Http1Dependencies) {
    this.#options = options
    this.#deps = deps
    this.#server = http.createServer({
      // Each session has its own deadline: Node looks at these only on servers that listen themselves
      // (nodejs/node lib/_http_server.js, setupConnectionsTracking).
      headersTimeout: 0,
      keepAliveTimeout: 0,
      requestTimeout: 0,
      maxHeaderSize: options.maxHeadBytes,
      // A decoy must look like the web server it imitates, which sends no such header on its own.
      keepAlive: false,
      // The style's refusals cover it, with a page.
      requireHostHeader: false,
      shouldUpgradeCallback: (message) => this.#mayUpgrade(message),
    })
    // A client that has closed its half still gets its answer; the sockets' own allowHalfOpen does not suffice
    // (nodejs/node lib/_http_server.js, socketOnEnd).
    Object.assign(this.#server, { httpAllowHalfOpen: true })
    this.#server.on('connect', (message, socket, head) => this.#onConnect(message, socket, head))
    this.#server.on('request', (message, response) => this.#onExchange(message, response))
    this.#server.on('upgrade', (message, socket, head) => this.#onUpgrade(message, socket, head))
    this.#server.on('checkContinue', (message, response) => this.#onExchange(message, response))
    this.#server.on('clientError', (error, socket) => this.#onClientError(error, socket))
  }

  /** Takes the socket over. */
  accept(connection: TransportConnection): void {
    const session = new Http1Session(connection, this.#options.headTimeoutMs, this.#deps)
    this.#sessions.set(connection.socket, session)
    session.listen()
    this.#server.emit('connection', connection.socket)
  }

  /** Stops Node's own connection checks. Sessions are ended by their owner. */
  destroy(): void {
    this.#server.close()
  }

  #onConnect(message: IncomingMessage, socket: Duplex, head: Buffer): void {
    const session = this.#sessions.get(socket)
    session?.onExchange(new Http1Connect(session, session.connection, message, head))
  }

  #onExchange(message: IncomingMessage, response: ServerResponse): void {
    const session = this.#sessions.get(message.socket)
    if (!session) return
    const refusal = this.#deps.style.refusalOf(message, this.#deps.clock.wall())
    if (refusal === undefined)
      session.onExchange(new Http1PlainExchange(session, message, response, undefined))
    else session.endWith(refusal)
  }

  #mayUpgrade(message: IncomingMessage): boolean {
    const session = this.#sessions.get(message.socket)
    return session !== undefined && this.#deps.style.mayUpgrade(session.channel, message.url ?? '')
  }

  #onUpgrade(message: IncomingMessage, socket: Duplex, head: Buffer): void {
    const session = this.#sessions.get(socket)
    if (!session) return
    // Node hands over the bare socket; the response object writes on it all the same.
    const response = new http.ServerResponse(message)
    response.assignSocket(session.connection.socket)
    session.onExchange(
      new Http1PlainExchange(session, message, response, { head, connection: session.connection }),
    )
  }

  #onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    const session = this.#sessions.get(socket)
    if (!session || !socket.writable || session.tunnelling) return void socket.destroy()
    this.#deps.counters.count('http1_malformed_requests', error.code ?? 'unknown')
    session.onMalformed(error)
  }
}

export class Http1Session implements Session {
  readonly id
  readonly protocol = 'HTTP1'
  readonly channel
  readonly remoteAddress
  readonly remotePort
  readonly serverName
  readonly connection: TransportConnection
  readonly #headTimeoutMs: number
  readonly #deps: Http1Dependencies
  readonly #closed = Promise.withResolvers<void>()
  #listener: SessionListener | undefined
  /** While no request is under way. */
  #headDeadline: Timer | undefined
  #openStreams = 0
  #state: Session['state'] = 'open'
  #error: Error | undefined
  /** The connection has become a tunnel: nothing on it is HTTP any more. */
  tunnelling = false

  constructor(connection: TransportConnection, headTimeoutMs: number, deps: Http1Dependencies) {
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

  get state(): Session['state'] {
    return this.#state
  }

  get openStreams(): number {
    return this.#openStreams
  }

  listen(): void {
    this.#listener = this.#deps.acceptSession(this)
    this.#awaitHead()
    this.connection.socket.once('close', () => {
      this.#headDeadline?.cancel()
      this.#state = 'closed'
      this.#openStreams = 0
      this.#closed.resolve()
      this.#listener?.onClose(this.#error)
    })
  }

  onExchange(exchange: Http1Connect | Http1PlainExchange): void {
    this.#headDeadline?.cancel()
    this.#openStreams++
    this.#listener?.onExchange(exchange)
  }

  /** An exchange is over; the connection may carry another unless it is draining. */
  onRequestDone(): void {
    if (this.#state === 'closed') return
    this.#openStreams--
    if (this.#state === 'draining') this.connection.socket.end()
    else if (this.#openStreams === 0) this.#awaitHead()
  }

  /** However slowly the head arrives, it ends without an answer, as with nginx. */
  #awaitHead(): void {
    this.#headDeadline = this.#deps.clock.after(this.#headTimeoutMs, () => {
      this.#deps.counters.count('http1_head_timeouts')
      this.destroy(new Error('no request in time'))
    })
  }

  /** What a web server says to bytes that it cannot read. */
  onMalformed(error: NodeJS.ErrnoException & { rawPacket?: Buffer }): void {
    this.#error = error
    if (this.#openStreams > 0) {
      // The content of a request is broken, not its head: the answer that is under way shall be the last.
      this.#state = 'draining'
      return
    }
    const { style, clock } = this.#deps
    const answer = style.malformedAnswer(error.rawPacket ?? Buffer.alloc(0), error.code ?? '', clock.wall())
    if (answer === undefined) this.connection.socket.end()
    else this.endWith(answer)
  }

  /** Sends a whole answer that is the last on this connection. */
  endWith(answer: Buffer): void {
    this.#state = 'draining'
    this.connection.socket.end(answer)
    // Unread input would turn the close into a reset that eats the answer.
    this.connection.socket.resume()
    this.destroyLater()
  }

  close({ graceMs }: { graceMs: number }): Promise<void> {
    if (this.#state === 'open') {
      this.#state = 'draining'
      if (this.#openStreams === 0) this.connection.socket.end()
      const deadline = this.#deps.clock.after(graceMs, () => this.destroy(new Error('grace has ended')))
      void this.#closed.promise.then(() => deadline.cancel())
    }
    return this.#closed.promise
  }

  destroy(reason: Error): void {
    if (this.#state === 'closed') return
    this.#error ??= reason
    this.connection.socket.destroy()
  }

  /** After an answer that ends the connection the client has a moment to close its side. */
  destroyLater(): void {
    const deadline = this.#deps.clock.after(LINGER_MS, () => this.connection.socket.destroy())
    void this.#closed.promise.then(() => deadline.cancel())
  }

  /** TCP RST: the only reset that HTTP/1.1 has. */
  resetConnection(): void {
    const raw: Socket = this.connection.rawSocket
    raw.resetAndDestroy()
    this.connection.socket.destroy()
  }
}

const LINGER_MS = 2000
