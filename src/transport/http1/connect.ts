/** A CONNECT over HTTP/1.1 as an exchange (RFC 9110 section 9.3.6; `docs/protocol.md`, "HTTP/1.1"). */
import type { IncomingMessage } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Duplex, Writable } from 'node:stream'
import type { ConnectExchange, RequestHeaders, ResponseHeaders } from '../../contract/exchange.ts'
import type { Channel } from '../../contract/session.ts'
import type { StreamEnd, StreamReset } from '../../contract/stream-end.ts'
import type { Http1Session } from './session.ts'
import { encodeHead, joinHeaders } from './head.ts'
import { pickFields } from '../kept-fields.ts'
import type { TransportConnection } from '../tls.ts'

export class Http1Connect implements ConnectExchange, StreamEnd {
  readonly session: Http1Session
  readonly channel: Channel
  readonly kind = 'connect'
  readonly method = 'CONNECT'
  readonly authority: string
  readonly #connection: TransportConnection
  readonly #httpVersionMinor: number
  #headers: RequestHeaders
  #abort: AbortController | undefined
  #answered = false
  #finished = false

  constructor(
    session: Http1Session,
    connection: TransportConnection,
    message: IncomingMessage,
    head: Buffer,
  ) {
    this.session = session
    this.channel = session.channel
    session.tunnelling = true
    this.#connection = connection
    this.#httpVersionMinor = message.httpVersionMinor
    this.#headers = joinHeaders(message.headers)
    this.authority = parseTarget(message.url ?? '', message.headers.host)
    if (head.length > 0) connection.socket.unshift(head)
    // Node has stopped reading; without this, a client that gives up before the answer would not be noticed.
    connection.socket.read(0)
  }

  get headers(): RequestHeaders {
    return this.#headers
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      const controller = new AbortController()
      this.#abort = controller
      const { socket } = this.#connection
      if (socket.destroyed) controller.abort()
      else socket.once('close', () => this.#finished || controller.abort())
    }
    return this.#abort.signal
  }

  keepFields(...names: readonly string[]): void {
    this.#headers = pickFields(this.#headers, names)
  }

  get io(): Duplex {
    return this.#connection.socket
  }

  accept(headers: ResponseHeaders = {}, { endStream = false } = {}): StreamEnd {
    if (endStream) this.#finish(200, headers)
    else this.#writeHead(200, headers)
    return this
  }

  refuse(status: number, headers: ResponseHeaders = {}): void {
    this.#finish(status, headers)
  }

  respond(status: number, headers: ResponseHeaders, { endStream = false } = {}): Writable {
    this.#writeHead(status, headers)
    if (endStream) this.#connection.socket.end()
    this.#discardRest()
    return this.#connection.socket
  }

  reset(reason: StreamReset): void {
    this.#finished = true
    if (reason === 'no_error') this.#connection.socket.destroy()
    else this.session.resetConnection()
  }

  cancel(): void {
    this.#abort?.abort()
    this.reset('cancel')
  }

  #writeHead(status: number, headers: ResponseHeaders): void {
    if (this.#answered) return
    this.#answered = true
    const { reason, fields } = this.session.style.formatHead(status, headers, 'close')
    const words = status === 200 ? 'Connection established' : reason || (STATUS_CODES[status] ?? '')
    const head = encodeHead(this.#httpVersionMinor, status, words, fields)
    this.#connection.socket.write(head, 'latin1')
  }

  #finish(status: number, headers: ResponseHeaders): void {
    if (this.#answered) return
    // 2xx answers to CONNECT carry no content-length (RFC 9110 section 9.3.6); the close ends them.
    this.#writeHead(status, status === 200 ? headers : { 'content-length': '0', ...headers })
    this.#finished = true
    this.#connection.socket.end()
    this.#discardRest()
  }

  #discardRest(): void {
    const { socket } = this.#connection
    socket.resume()
    socket.once('end', () => socket.destroySoon())
    this.session.destroyLater()
  }
}

/** Authority-form, absolute-form (`https://host:443/`) or origin-form with Host (https assumed). */
function parseTarget(url: string, host: string | undefined): string {
  if (url.startsWith('/')) return host ?? ''
  const scheme = url.indexOf('://')
  if (scheme < 0) return url
  const rest = url.slice(scheme + 3)
  const end = rest.search(/[/?#]/)
  return end < 0 ? rest : rest.slice(0, end)
}
