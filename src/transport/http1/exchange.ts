/** An ordinary HTTP/1.1 request and its response as an exchange. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Readable, Writable } from 'node:stream'
import type {
  PlainExchange,
  RequestHeaders,
  RequestScheme,
  ResponseHeaders,
} from '../../contract/exchange.ts'
import type { Channel } from '../../contract/session.ts'
import type { StreamEnd, StreamReset } from '../../contract/stream-end.ts'
import type { Http1Session } from './session.ts'
import { encodeHead, joinHeaders } from './head.ts'
import { parseScheme } from '../../wire/authority.ts'
import type { TransportConnection } from '../tls.ts'

/** Present when the client asked for `Upgrade`: the bytes that followed the head, and the connection they came from. */
interface UpgradeOffer {
  readonly head: Buffer
  readonly connection: TransportConnection
}

export class Http1PlainExchange implements PlainExchange {
  readonly kind = 'plain'
  readonly session: Http1Session
  readonly channel: Channel
  readonly method: string
  readonly scheme: RequestScheme | undefined
  readonly authority: string
  readonly path: string
  readonly upgrade: PlainExchange['upgrade']
  readonly #message: IncomingMessage
  readonly #response: ServerResponse
  readonly #offer: UpgradeOffer | undefined
  #headers: RequestHeaders | undefined
  #abort: AbortController | undefined
  #expectsContinue: boolean
  #done = false

  constructor(
    session: Http1Session,
    message: IncomingMessage,
    response: ServerResponse,
    offer: UpgradeOffer | undefined,
  ) {
    this.session = session
    this.channel = session.channel
    this.method = message.method ?? ''
    const { scheme, authority, path } = splitTarget(message.url ?? '/', message.headers.host)
    this.scheme = scheme
    this.authority = authority
    this.path = path
    this.#message = message
    this.#response = response
    this.#offer = offer
    this.upgrade = offer && ((headers) => this.#upgrade(offer, headers))
    this.#expectsContinue =
      message.httpVersion === '1.1' && /^100-continue$/i.test(message.headers.expect ?? '')
    response.on('error', ignoreError)
    message.on('error', ignoreError)
    response.once('close', () => this.#onClose())
  }

  get headers(): RequestHeaders {
    this.#headers ??= joinHeaders(this.#message.headers)
    return this.#headers
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#response.destroyed && !this.#response.writableFinished) this.#abort.abort()
    return this.#abort.signal
  }

  leaving(): AbortSignal {
    const controller = new AbortController()
    const { socket } = this.#message
    const onEnd = (): void => controller.abort()
    if (socket.readableEnded) onEnd()
    socket.once('end', onEnd)
    this.#response.once('close', () => socket.off('end', onEnd))
    return controller.signal
  }

  /**
   * Reading the content invites the client to send it (RFC 9110 section 10.1.1); after the answer it is only discarded.
   */
  body(): Readable {
    if (this.#expectsContinue && !this.#response.headersSent) this.#response.writeContinue()
    this.#expectsContinue = false
    return this.#message
  }

  refuse(status: number, headers: ResponseHeaders = {}): void {
    this.respond(status, { 'content-length': '0', ...headers }, { endStream: true })
    // Node drops the rest on its own only if nobody has begun to read.
    this.#message.resume()
  }

  respond(status: number, headers: ResponseHeaders, { endStream = false } = {}): Writable {
    const response = this.#response
    if (response.headersSent || response.destroyed) return response
    const { state, style } = this.session
    if (state === 'draining' || this.#offer || style.closesConnection(status, this.method))
      response.shouldKeepAlive = false
    const connection = response.shouldKeepAlive ? 'keep-alive' : 'close'
    const { reason, fields } = style.formatHead(status, headers, connection)
    response.writeHead(status, reason || (STATUS_CODES[status] ?? ''), [...fields])
    if (endStream) response.end()
    if (this.#offer) response.once('finish', () => this.#offer?.connection.socket.end())
    return response
  }

  #upgrade({ head, connection }: UpgradeOffer, headers: ResponseHeaders): StreamEnd {
    this.#response.detachSocket(connection.socket)
    const { fields } = this.session.style.formatHead(101, headers, 'upgrade')
    connection.socket.write(encodeHead(1, 101, 'Switching Protocols', fields), 'latin1')
    if (head.length > 0) connection.socket.unshift(head)
    return { io: connection.socket, reset: (reason) => this.reset(reason) }
  }

  reset(reason: StreamReset): void {
    if (reason === 'no_error') this.session.connection.socket.destroy()
    else this.session.resetConnection()
  }

  cancel(): void {
    this.#abort?.abort()
    this.reset('cancel')
  }

  #onClose(): void {
    if (this.#done) return
    this.#done = true
    if (!this.#response.writableFinished) this.#abort?.abort()
    if (!this.#message.complete) this.#endContentWithConnection()
    this.session.onRequestDone()
  }

  /**
   * Node forgets a request that has its answer: when the connection closes, its content would neither end nor close.
   */
  #endContentWithConnection(): void {
    const { socket } = this.session.connection
    const onClose = (): void => void this.#message.destroy()
    if (socket.destroyed) return onClose()
    const forget = (): void => void socket.off('close', onClose)
    socket.once('close', onClose)
    this.#message.once('end', forget)
    this.#message.once('close', forget)
  }
}

function ignoreError(): void {}

/**
 * Origin-form with Host, or absolute-form, whose authority then takes precedence over Host (RFC 9112 section 3.2.2).
 */
function splitTarget(
  target: string,
  host: string | undefined,
): Pick<PlainExchange, 'scheme' | 'authority' | 'path'> {
  const absolute = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(.*)$/i.exec(target)
  if (!absolute) return { scheme: undefined, authority: host ?? '', path: target }
  const [, scheme, authority = '', path = ''] = absolute
  return { scheme: parseScheme(scheme), authority, path: path.startsWith('/') ? path : `/${path}` }
}
