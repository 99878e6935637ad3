/**
 * HTTP/2 (RFC 9113, specification 3.1) as sessions and requests. Receives a TLS socket on which ALPN chose `h2`.
 */
import http2 from 'node:http2'
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import type { Clock, Timer } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import type { AcceptSession, Session, SessionListener } from '../../contract/session.ts'
import { Http2Connect, Http2Plain } from './exchange.ts'
import { LingerQueue } from '../linger.ts'
import type { TransportConnection } from '../tls.ts'

export interface Http2Options {
  /** SETTINGS_INITIAL_WINDOW_SIZE, bytes. */
  streamWindowBytes: number
  /** Receive window of the whole connection, bytes. */
  sessionWindowBytes: number
  maxConcurrentStreams: number
  maxFrameBytes: number
  /** SETTINGS_MAX_HEADER_LIST_SIZE, bytes. */
  maxHeaderListBytes: number
}

export interface Http2Dependencies {
  clock: Clock
  counters: Counters
  acceptSession: AcceptSession
}

/**
 * Clients end every tunnel with RST_STREAM, so resets are ordinary here; what a rapid reset (CVE-2023-44487)
 * may cost is still bounded per session.
 */
const STREAM_RESET_BURST = 5000
const STREAM_RESETS_PER_SECOND = 1000
/** Node's own ceiling is 10 MB, less than the receive windows that the settings promise. */
const SESSION_MEMORY_MEGABYTES = 64
const MAX_HEADER_FIELDS = 128
/** What a session that failed has for its last frames. */
const FAILED_GOODBYE_MS = 2000
/** The same for one that ends in order: it may still be sending the end of its last stream to a slow client. */
const GOODBYE_MS = 30_000

export class Http2Transport {
  readonly #options: Http2Options
  readonly #deps: Http2Dependencies
  readonly #linger: LingerQueue

  constructor(options: Http2Options, deps: Http2Dependencies) {
    this.#options = options
    this.#deps = deps
    this.#linger = new LingerQueue(deps.clock)
  }

  /** Takes the socket over. */
  accept(connection: TransportConnection): void {
    const { streamWindowBytes, sessionWindowBytes, maxConcurrentStreams, maxFrameBytes, maxHeaderListBytes } =
      this.#options
    const session = http2.performServerHandshake(connection.socket, {
      settings: {
        initialWindowSize: streamWindowBytes,
        maxConcurrentStreams,
        maxFrameSize: maxFrameBytes,
        maxHeaderListSize: maxHeaderListBytes,
      },
      maxSessionMemory: SESSION_MEMORY_MEGABYTES,
      maxHeaderListPairs: MAX_HEADER_FIELDS,
      streamResetBurst: STREAM_RESET_BURST,
      streamResetRate: STREAM_RESETS_PER_SECOND,
    })
    session.setLocalWindowSize(sessionWindowBytes)
    new Http2Session(session, connection, this.#deps, this.#linger).listen()
  }

  /** Stops the shared timer. Sessions are ended by their owner. */
  destroy(): void {
    this.#linger.destroy()
  }
}

class Http2Session implements Session {
  readonly id
  readonly protocol = 'HTTP2'
  readonly channel
  readonly remoteAddress
  readonly remotePort
  readonly serverName
  readonly #session: ServerHttp2Session
  readonly #socket: TLSSocket
  readonly #deps: Http2Dependencies
  readonly #linger: LingerQueue
  readonly #closed = Promise.withResolvers<void>()
  #openStreams = 0
  #state: Session['state'] = 'open'
  #error: Error | undefined
  #goodbye: Timer | undefined

  constructor(
    session: ServerHttp2Session,
    connection: TransportConnection,
    deps: Http2Dependencies,
    linger: LingerQueue,
  ) {
    this.id = connection.id
    this.channel = connection.channel
    this.remoteAddress = connection.remoteAddress
    this.remotePort = connection.remotePort
    this.serverName = connection.serverName
    this.#session = session
    this.#socket = connection.socket
    this.#deps = deps
    this.#linger = linger
  }

  get state(): Session['state'] {
    return this.#state
  }

  get openStreams(): number {
    return this.#openStreams
  }

  listen(): void {
    const listener = this.#deps.acceptSession(this)
    this.#limitGoodbye()
    this.#session.on('error', (error) => {
      this.#error = error
    })
    // The socket allows half-open for the sake of HTTP/1.1 tunnels; HTTP/2 has no use for half a connection.
    this.#socket.once('end', () => this.#end())
    this.#session.once('close', () => this.#onClose(listener))
    this.#session.on('stream', (stream, headers) => this.#onStream(stream, headers, listener))
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, listener: SessionListener): void {
    this.#openStreams++
    stream.once('close', this.#onStreamClose)
    const Kind = headers[':method'] === 'CONNECT' ? Http2Connect : Http2Plain
    listener.onExchange(new Kind(this, stream, headers, this.#linger))
  }

  readonly #onStreamClose = (): void => {
    this.#openStreams--
  }

  /**
   * Node's destroyed session waits for the write that is under way before it closes its socket, and says nothing
   * until then (nodejs/node lib/internal/http2/core.js, closeSession). Towards a peer that has gone, or does not
   * read, that write may never end.
   */
  #limitGoodbye(): void {
    const session = this.#session
    const destroy = session.destroy.bind(session)
    session.destroy = (error, code) => {
      const failed = error !== undefined || code !== undefined
      if (this.#state !== 'closed') this.#startGoodbye(failed ? FAILED_GOODBYE_MS : GOODBYE_MS)
      destroy(error, code)
    }
  }

  #startGoodbye(limitMs: number): void {
    this.#goodbye ??= this.#deps.clock.after(limitMs, () => this.#socket.destroy())
  }

  #onClose(listener: SessionListener): void {
    this.#state = 'closed'
    this.#goodbye?.cancel()
    if (this.#error) this.#deps.counters.count('session_errors', 'HTTP2')
    this.#closed.resolve()
    listener.onClose(this.#error)
  }

  close({ graceMs }: { graceMs: number }): Promise<void> {
    if (this.#state === 'open') {
      this.#state = 'draining'
      this.#session.close()
      const deadline = this.#deps.clock.after(graceMs, () => this.destroy(new Error('grace has ended')))
      void this.#closed.promise.then(() => deadline.cancel())
    }
    return this.#closed.promise
  }

  destroy(reason: Error): void {
    this.#error ??= reason
    this.#end()
  }

  /** Nobody is there to say goodbye to. */
  #end(): void {
    this.#session.destroy()
    this.#socket.destroy()
  }
}
