/** The clients of the soak: one session each, whatever the HTTP version (HTTP/1.1: a connection per tunnel). */
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import type { Duplex, Readable } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { H2Client } from '../support/h2-client.ts'
import { H3Client, answerOf } from '../support/h3-client.ts'
import { openTls, readNext } from '../support/tls-client.ts'

export interface SoakAnswer {
  readonly status: number
  /** The tunnel, or the content of a page. */
  readonly stream: Duplex
}

export interface SoakSession {
  connect(authority: string, user: SoakUser): Promise<SoakAnswer>
  /** A page of the decoy site, as a visitor asks for it. */
  get(path: string): Promise<SoakAnswer>
  readonly isLost: boolean
  /** As a client does that leaves. */
  end(): Promise<void>
  /** As a client does that loses its network or its process. */
  kill(): void
}

export interface SoakUser {
  readonly username: string
  readonly password: string
}

const HEAD_END = '\r\n\r\n'
const authorize = ({ username, password }: SoakUser): { 'proxy-authorization': string } => ({
  'proxy-authorization': encodeBasicAuth(username, password),
})

class Http1Session implements SoakSession {
  readonly isLost = false
  readonly #port: number
  readonly #sockets = new Set<TLSSocket>()

  constructor(port: number) {
    this.#port = port
  }

  connect(authority: string, user: SoakUser): Promise<SoakAnswer> {
    const field = authorize(user)['proxy-authorization']
    return this.#ask(`CONNECT ${authority} HTTP/1.1\r\nHost: a\r\nProxy-Authorization: ${field}`)
  }

  get(path: string): Promise<SoakAnswer> {
    return this.#ask(`GET ${path} HTTP/1.1\r\nHost: vpn.endpoint\r\nConnection: close`)
  }

  async #ask(head: string): Promise<SoakAnswer> {
    const socket = await openTls(this.#port, { servername: 'vpn.endpoint', ALPNProtocols: ['http/1.1'] })
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.write(head + HEAD_END)
    let answer = ''
    while (!answer.endsWith(HEAD_END)) answer += (await readNext(socket, 1)).toString('latin1')
    return { status: Number(answer.split(' ', 2)[1]), stream: socket }
  }

  async end(): Promise<void> {
    this.kill()
    await Promise.all([...this.#sockets].map((socket) => once(socket, 'close')))
  }

  kill(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

class Http2Session implements SoakSession {
  readonly #client: H2Client

  constructor(client: H2Client) {
    this.#client = client
  }

  get isLost(): boolean {
    return this.#client.session.destroyed || this.#client.session.closed
  }

  connect(authority: string, user: SoakUser): Promise<SoakAnswer> {
    return this.#client.connect(authority, authorize(user))
  }

  async get(path: string): Promise<SoakAnswer> {
    const stream = this.#client.session.request({ ':path': path, ':authority': 'vpn.endpoint' })
    stream.on('error', () => {})
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    return { status: Number(headers[':status']), stream }
  }

  end(): Promise<void> {
    return this.#client[Symbol.asyncDispose]()
  }

  kill(): void {
    this.#client.socket.destroy()
  }
}

class Http3Session implements SoakSession {
  readonly #client: H3Client
  isLost = false

  constructor(client: H3Client) {
    this.#client = client
    void client.closed.then(() => (this.isLost = true))
  }

  async connect(authority: string, user: SoakUser): Promise<SoakAnswer> {
    const head = { ':method': 'CONNECT', ':authority': authority, ...authorize(user) }
    // Waits while QUIC allows no further stream, as it does for a moment at the beginning.
    const stream = await this.#client.session.requestAsync(head, { endStream: false })
    stream.on('error', () => {})
    return answerOf(stream)
  }

  async get(path: string): Promise<SoakAnswer> {
    const page = { ':method': 'GET', ':scheme': 'https', ':authority': 'vpn.endpoint', ':path': path }
    const stream = this.#client.request(page, { endStream: true })
    // When the stream ends, the library throws away whatever nobody has asked for.
    const content = stream.pipe(new PassThrough())
    stream.once('close', () => stream.readableEnded || content.destroy())
    return { status: (await answerOf(stream)).status, stream: content }
  }

  end(): Promise<void> {
    return this.#client[Symbol.asyncDispose]()
  }

  kill(): void {
    void this.end().catch(() => {})
  }
}

export const PROTOCOLS = {
  HTTP1: async (port: number): Promise<SoakSession> => new Http1Session(port),
  HTTP2: async (port: number): Promise<SoakSession> => new Http2Session(await H2Client.open({ port })),
  HTTP3: async (port: number): Promise<SoakSession> => new Http3Session(await H3Client.open(port)),
} as const
export type Protocol = keyof typeof PROTOCOLS

/** Everything up to the end. */
export async function drain(stream: Readable): Promise<number> {
  let bytes = 0
  stream.on('data', (chunk: Buffer) => (bytes += chunk.length))
  await once(stream, 'end')
  return bytes
}
