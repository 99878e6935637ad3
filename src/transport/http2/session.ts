/** One HTTP/2 connection as a session (RFC 9113). */
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import type { Clock, Timer } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import { isRevocation } from '../../errors.ts'
import type { Session } from '../../contract/session.ts'
import type { AcceptSession, SessionListener } from '../../contract/session-listener.ts'
import type { LingerQueue } from '../linger.ts'
import { AUTHENTICATION_REQUIRED, SessionLife } from '../session-life.ts'
import type { TransportConnection } from '../tls.ts'
import { Http2Connect, Http2Plain } from './exchange.ts'
import type { HeadMemory } from './head-memory.ts'

export interface Http2Dependencies {
  clock: Clock
  counters: Counters
  acceptSession: AcceptSession
}

/** How long a session that failed may take for its last frames. */
const FAILED_GOODBYE_MS = 2000
/** The same for a session that ends in order: it may still be sending the end of its last stream to a slow client. */
const GOODBYE_MS = 30_000

export class Http2Session extends SessionLife implements Session {
  readonly id
  override readonly protocol = 'HTTP2'
  readonly channel
  readonly remoteAddress
  readonly remotePort
  readonly serverName
  readonly #session: ServerHttp2Session
  readonly #socket: TLSSocket
  readonly #deps: Http2Dependencies
  readonly #linger: LingerQueue
  readonly #heads: HeadMemory
  readonly #exchanges = new Set<Http2Connect | Http2Plain>()
  #goodbye: Timer | undefined

  constructor(
    session: ServerHttp2Session,
    connection: TransportConnection,
    deps: Http2Dependencies,
    linger: LingerQueue,
    heads: HeadMemory,
  ) {
    super(deps.clock, deps.counters)
    this.id = connection.id
    this.channel = connection.channel
    this.remoteAddress = connection.remoteAddress
    this.remotePort = connection.remotePort
    this.serverName = connection.serverName
    this.#session = session
    this.#socket = connection.socket
    this.#deps = deps
    this.#linger = linger
    this.#heads = heads
  }

  get openStreams(): number {
    return this.#exchanges.size
  }

  listen(): void {
    const listener = this.#deps.acceptSession(this)
    this.#limitGoodbye()
    this.#session.on('error', (error) => this.fail(error))
    // The socket allows half-open for the sake of HTTP/1.1 tunnels; HTTP/2 has no use for half a connection.
    this.#socket.once('end', () => this.#end())
    this.#session.once('close', () => this.#onClose(listener))
    this.#session.on('stream', (stream, headers, _flags, rawHeaders) => {
      this.#heads.onHead(rawHeaders)
      this.#onStream(stream, headers, listener)
    })
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, listener: SessionListener): void {
    const Kind = headers[':method'] === 'CONNECT' ? Http2Connect : Http2Plain
    const exchange = new Kind(this, stream, headers, this.#linger)
    this.#exchanges.add(exchange)
    stream.once('close', () => {
      this.#exchanges.delete(exchange)
      exchange.onStreamClose()
    })
    listener.onExchange(exchange)
  }

  /**
   * A destroyed session of Node waits for the write under way before it closes its socket, and reports nothing until
   * then (nodejs/node lib/internal/http2/core.js, closeSession). To a peer that is gone, or does not read, that write
   * may never end.
   */
  #limitGoodbye(): void {
    const session = this.#session
    const destroy = session.destroy.bind(session)
    session.destroy = (error, code) => {
      const failed = error !== undefined || code !== undefined
      if (this.state !== 'closed') this.#startGoodbye(failed ? FAILED_GOODBYE_MS : GOODBYE_MS)
      destroy(error, code)
    }
  }

  #startGoodbye(limitMs: number): void {
    this.#goodbye ??= this.#deps.clock.after(limitMs, () => this.#socket.destroy())
  }

  #onClose(listener: SessionListener): void {
    this.#goodbye?.cancel()
    this.settle()
    listener.onClose(this.error)
  }

  protected override onDrain(): void {
    this.#session.close()
  }

  protected override onDestroy(reason: Error): void {
    if (isRevocation(reason)) this.#revoke()
    else this.#end()
  }

  /**
   * The one end at which the client learns the reason. Node's `destroy` with a code closes the socket before the GOAWAY
   * has left it, and its `close` would send another one with NO_ERROR: so the frames are sent, and then our half ends.
   */
  #revoke(): void {
    // It has failed and only waits for its last write: a GOAWAY would throw.
    if (this.#session.destroyed) return this.#end()
    this.#session.goaway(AUTHENTICATION_REQUIRED)
    for (const exchange of this.#exchanges) exchange.cancel()
    this.#startGoodbye(FAILED_GOODBYE_MS)
    setImmediate(() => this.#socket.end())
  }

  /** There is nobody left to say goodbye to. */
  #end(): void {
    this.#session.destroy()
    this.#socket.destroy()
  }
}
