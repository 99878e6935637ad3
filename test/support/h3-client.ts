/** HTTP/3 clients for tests: one that behaves like TrustTunnel clients, and one that writes raw frames. */
import { once } from 'node:events'
import { connectAsync, connectQuicAsync } from '@currentspace/http3'
import type {
  ClientHttp3Stream,
  ConnectOptions,
  Http3ClientSession,
  IncomingHeaders,
  QuicClientSession,
  QuicStream,
} from '@currentspace/http3'

export interface H3Answer {
  readonly status: number
  readonly headers: IncomingHeaders
  readonly stream: ClientHttp3Stream
}

export class H3Client implements AsyncDisposable {
  readonly session: Http3ClientSession
  /** Code and reason of the connection's close. */
  readonly closed: Promise<{ errorCode?: number; reason?: string }>

  constructor(session: Http3ClientSession) {
    this.session = session
    session.on('error', () => {})
    this.closed = new Promise((resolve) => session.on('close', resolve))
  }

  static async open(port: number, options: ConnectOptions & { host?: string } = {}): Promise<H3Client> {
    const { host = '127.0.0.1', ...rest } = options
    const session = await connectAsync(
      { address: host, port, servername: 'vpn.endpoint' },
      { rejectUnauthorized: false, metricsIntervalMs: 60_000, maxIdleTimeoutMs: 60_000, ...rest },
    )
    return new H3Client(session)
  }

  /** Sends a request without waiting for the answer. */
  request(headers: IncomingHeaders, { endStream = false } = {}): ClientHttp3Stream {
    const stream = this.session.request(headers, { endStream })
    stream.on('error', () => {})
    return stream
  }

  connect(authority: string, headers: Record<string, string> = {}): ClientHttp3Stream {
    return this.request({
      ':method': 'CONNECT',
      ':authority': authority,
      'user-agent': 'Linux test',
      ...headers,
    })
  }

  /** Sends a CONNECT and resolves with its answer; rejects when the stream is reset first. */
  tunnel(authority: string, headers: Record<string, string> = {}): Promise<H3Answer> {
    return answerOf(this.connect(authority, headers))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.destroy()
  }
}

export async function answerOf(stream: ClientHttp3Stream): Promise<H3Answer> {
  const [headers] = (await Promise.race([
    once(stream, 'response'),
    resetOf(stream).then((code) => {
      throw new Error(`reset with ${code ?? 'nothing'}`)
    }),
  ])) as [IncomingHeaders]
  return { status: Number(headers[':status']), headers, stream }
}

/** The code with which the peer resets `stream`; undefined when it closes without a reset. */
export function resetOf(stream: ClientHttp3Stream): Promise<number | undefined> {
  return new Promise((resolve) => {
    stream.once('error', (error: Error & { h3Code?: number }) => resolve(error.h3Code))
    stream.once('close', () => resolve(undefined))
  })
}

/** Frames by hand on a QUIC connection with ALPN h3, for what the client above refuses to send. */
export class RawH3Client implements AsyncDisposable {
  readonly session: QuicClientSession

  constructor(session: QuicClientSession) {
    this.session = session
    session.on('error', () => {})
    session.on('stream', () => {})
  }

  static async open(port: number): Promise<RawH3Client> {
    return new RawH3Client(
      await connectQuicAsync(
        { address: '127.0.0.1', port, servername: 'vpn.endpoint' },
        { rejectUnauthorized: false, alpn: ['h3'] },
      ),
    )
  }

  /** Opens a stream and sends a HEADERS frame as it is. */
  request(fields: readonly (readonly [string, string])[], { endStream = false } = {}): QuicStream {
    const stream = this.session.openStream()
    stream.on('error', () => {})
    const frame = headersFrame(fields)
    if (endStream) stream.end(frame)
    else stream.write(frame)
    return stream
  }

  /** The code of the stream's reset, which this client reports only in the text of its error. */
  resetOf(stream: QuicStream): Promise<number | undefined> {
    return new Promise((resolve) => {
      stream.once('error', ({ message }: Error) =>
        resolve(Number(/StreamReset\((\d+)\)/u.exec(message)?.[1])),
      )
      stream.once('close', () => resolve(undefined))
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.close()
  }
}

/** RFC 9114 section 7.2.2, with every field a QPACK literal with a literal name (RFC 9204 section 4.5.6). */
function headersFrame(fields: readonly (readonly [string, string])[]): Buffer {
  const section = [0, 0]
  for (const [name, value] of fields) {
    section.push(...prefixed(0x20, 3, Buffer.byteLength(name)), ...Buffer.from(name))
    section.push(...prefixed(0, 7, Buffer.byteLength(value)), ...Buffer.from(value))
  }
  return Buffer.from([1, 0x80, 0, section.length >> 8, section.length & 0xff, ...section])
}

/** RFC 7541 section 5.1. */
function prefixed(flags: number, bits: number, value: number): number[] {
  const limit = (1 << bits) - 1
  if (value < limit) return [flags | value]
  const bytes = [flags | limit]
  let rest = value - limit
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return [...bytes, rest]
}
