/** A small HTTP/2 client on node:http2 that behaves like TrustTunnel clients. */
import { once } from 'node:events'
import http2 from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2'
import { connect as connectTls } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'

export interface H2ClientOptions {
  readonly port: number
  readonly host?: string
  /** The client's own address. */
  readonly localAddress?: string
  readonly serverName?: string
  readonly username?: string
  readonly password?: string
  readonly settings?: http2.Settings
}

export interface H2Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Flags of the HEADERS frame; 1 is END_STREAM. */
  readonly flags: number
  readonly stream: ClientHttp2Stream
}

const SESSION_WINDOW_BYTES = 8_388_608

export class H2Client implements AsyncDisposable {
  readonly session: ClientHttp2Session
  /** The socket below it, for breaking the connection. */
  readonly socket: TLSSocket
  readonly #authorization: string | undefined

  constructor(session: ClientHttp2Session, socket: TLSSocket, authorization: string | undefined) {
    this.session = session
    this.socket = socket
    this.#authorization = authorization
    session.on('error', () => {})
  }

  static async open(options: H2ClientOptions): Promise<H2Client> {
    const { port, host = '127.0.0.1', serverName = 'vpn.endpoint', username, password, settings } = options
    const { localAddress } = options
    const socket = connectTls({
      host,
      port,
      ...(localAddress !== undefined && { localAddress }),
      servername: serverName,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
    })
    const session = http2.connect(`https://${host}:${port}`, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: 131_072, maxConcurrentStreams: 1000, ...settings },
    })
    const authorization = username === undefined ? undefined : encodeBasicAuth(username, password ?? '')
    const client = new H2Client(session, socket, authorization)
    await once(session, 'connect')
    session.setLocalWindowSize(SESSION_WINDOW_BYTES)
    return client
  }

  /** Sends a CONNECT without waiting for the answer. */
  request(
    authority: string,
    headers: Record<string, string> = {},
    options: { endStream?: boolean } = {},
  ): ClientHttp2Stream {
    const stream = this.session.request(
      {
        ':method': 'CONNECT',
        ':authority': authority,
        'user-agent': 'Linux test',
        ...(this.#authorization !== undefined && { 'proxy-authorization': this.#authorization }),
        ...headers,
      },
      { endStream: options.endStream ?? false },
    )
    stream.on('error', () => {})
    return stream
  }

  /** Sends a CONNECT and resolves with its answer; rejects when the stream closes without one. */
  connect(authority: string, headers: Record<string, string> = {}): Promise<H2Answer> {
    return answerOf(this.request(authority, headers))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.session.destroyed) return
    const closed = once(this.session, 'close')
    this.session.destroy()
    await closed
  }
}

export function answerOf(stream: ClientHttp2Stream): Promise<H2Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<H2Answer>()
  stream.once('response', (headers, flags) =>
    resolve({ status: Number(headers[':status']), headers, flags, stream }),
  )
  stream.once('close', () => reject(new Error(`stream closed with ${stream.rstCode} before an answer`)))
  return promise
}
