/**
 * HTTP/1.1 (RFC 9112) as sessions and requests: one CONNECT turns the connection into a tunnel, other requests may
 * follow each other. Node parses; this file only translates.
 */
import http from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { Http1Connect } from './connect.ts'
import { Http1PlainExchange } from './exchange.ts'
import { Http1Session } from './session.ts'
import type { Http1Dependencies } from './session.ts'
import type { TransportConnection } from '../tls.ts'

interface Http1Options {
  /** From the end of the handshake, or of the last answer, to the end of the next request's head. */
  headTimeoutMs: number
  maxHeadBytes: number
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
      // Each session has a deadline of its own: Node applies these only to servers that listen themselves (nodejs/node
      // lib/_http_server.js, setupConnectionsTracking).
      headersTimeout: 0,
      keepAliveTimeout: 0,
      requestTimeout: 0,
      maxHeaderSize: options.maxHeadBytes,
      // A decoy must look like the web server it imitates, which does not send this header on its own.
      keepAlive: false,
      // The style refuses such requests itself, with a page.
      requireHostHeader: false,
      shouldUpgradeCallback: (message) => this.#mayUpgrade(message),
    })
    // A client that has closed its half still gets its answer; the sockets' own allowHalfOpen is not enough
    // (nodejs/node lib/_http_server.js, socketOnEnd).
    Object.assign(this.#server, { httpAllowHalfOpen: true })
    this.#server.on('connect', (message, socket, head) => this.#onConnect(message, socket, head))
    this.#server.on('request', (message, response) => this.#onExchange(message, response))
    this.#server.on('upgrade', (message, socket, head) => this.#onUpgrade(message, socket, head))
    this.#server.on('checkContinue', (message, response) => this.#onExchange(message, response))
    // Node would answer 417 itself; a web server ignores an expectation that it does not know.
    this.#server.on('checkExpectation', (message, response) => this.#onExchange(message, response))
    this.#server.on('clientError', (error, socket) => this.#onClientError(error, socket))
  }

  /** Takes the socket over. */
  accept(connection: TransportConnection): void {
    const session = new Http1Session(connection, this.#options.headTimeoutMs, this.#deps)
    this.#sessions.set(connection.socket, session)
    session.listen()
    this.#server.emit('connection', connection.socket)
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
    const { url = '', headers } = message
    return session !== undefined && this.#deps.style.mayUpgrade(session.channel, url, headers.upgrade ?? '')
  }

  #onUpgrade(message: IncomingMessage, socket: Duplex, head: Buffer): void {
    const session = this.#sessions.get(socket)
    if (!session) return
    // Node hands over the bare socket; a response object can still write to it.
    const response = new http.ServerResponse(message)
    response.assignSocket(session.connection.socket)
    session.onExchange(
      new Http1PlainExchange(session, message, response, { head, connection: session.connection }),
    )
  }

  #onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    const session = this.#sessions.get(socket)
    if (!session || !socket.writable || session.tunnelling) return void socket.destroy()
    this.#deps.counters.count('http1_malformed_requests', parserCode(error))
    session.onMalformed(error)
  }
}

/** The parser's own codes; everything else gets one label, since a socket may fail in many ways. */
function parserCode({ code }: NodeJS.ErrnoException): `HPE_${string}` | 'other' {
  return code?.startsWith('HPE_') === true ? (code as `HPE_${string}`) : 'other'
}
