/** HTTP/3 (RFC 9114) by the client of `@currentspace/http3`: one connection, as TrustTunnel clients have. */
import { connectAsync, type ClientHttp3Stream, type Http3ClientSession } from '@currentspace/http3'
import type { EndpointAccess, Tunnel, TunnelClient, TunnelListener } from './tunnel-client.ts'

/** The windows of the official client, in bytes. */
const SESSION_WINDOW_BYTES = 104_857_600
const STREAM_WINDOW_BYTES = 1_048_576

export class Http3Client implements TunnelClient {
  readonly #session: Http3ClientSession
  readonly #access: EndpointAccess

  private constructor(session: Http3ClientSession, access: EndpointAccess) {
    this.#session = session
    this.#access = access
  }

  static async open(access: EndpointAccess): Promise<Http3Client> {
    const session = await connectAsync(`https://${access.address}:${access.port}`, {
      servername: access.serverName,
      rejectUnauthorized: false,
      // With io_uring packets leave in another order than they should, and most are taken for lost.
      runtimeMode: 'portable',
      connectTimeoutMs: 5000,
      initialMaxData: SESSION_WINDOW_BYTES,
      initialMaxStreamDataBidiLocal: STREAM_WINDOW_BYTES,
    })
    session.on('error', () => {})
    return new Http3Client(session, access)
  }

  open(authority: string, listener: TunnelListener): Tunnel {
    const stream = this.#session.request({
      ':method': 'CONNECT',
      ':authority': authority,
      'user-agent': 'Linux bench',
      'proxy-authorization': this.#access.authorization,
    })
    return new Http3Tunnel(stream, listener)
  }

  destroy(): void {
    this.#session.destroy().catch(() => {})
  }
}

class Http3Tunnel implements Tunnel {
  readonly #stream: ClientHttp3Stream

  constructor(stream: ClientHttp3Stream, listener: TunnelListener) {
    this.#stream = stream
    let failure: Error | undefined
    stream.on('error', (error) => {
      failure = error
    })
    stream.once('response', (headers) => {
      if (headers[':status'] === '200') listener.onOpen?.()
      else stream.destroy(new Error(`answer ${String(headers[':status'])}`))
    })
    stream.on('data', (chunk) => listener.onData?.(chunk))
    stream.on('drain', () => listener.onDrain?.())
    stream.once('end', () => listener.onEnd?.())
    stream.once('close', () => listener.onClose?.(failure))
  }

  write(chunk: Buffer): boolean {
    return this.#stream.write(chunk)
  }

  end(): void {
    this.#stream.end()
  }
}
