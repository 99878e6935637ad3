/** HTTP/2 frame by frame on a TLS connection, for clients unlike any library's. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { USER } from './endpoint.ts'
import { ACK, END_HEADERS, PREFACE, frame, frameName, headerBlock } from './http2-frames.ts'
import type { FrameName } from './http2-frames.ts'
import { openTcp } from './tls-client.ts'

export interface ReceivedFrame {
  /** Undefined for types that RFC 9113 does not define. */
  readonly name: FrameName | undefined
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

const HEADER_BYTES = 9

export class RawHttp2 implements AsyncDisposable {
  readonly socket: TLSSocket
  readonly #raw: Socket
  readonly frames: ReceivedFrame[] = []
  #rest = Buffer.alloc(0)
  #waiting: (() => void)[] = []

  private constructor(socket: TLSSocket, raw: Socket) {
    this.socket = socket
    this.#raw = raw
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.once('close', () => this.#wake())
    socket.once('end', () => socket.destroy())
  }

  /** Completes the handshake and sends nothing more. */
  static async connect(port: number): Promise<RawHttp2> {
    const raw = await openTcp({ port, host: '127.0.0.1' })
    const socket = connectTls({
      socket: raw,
      servername: 'vpn.endpoint',
      ALPNProtocols: ['h2'],
      rejectUnauthorized: false,
    })
    await once(socket, 'secureConnect')
    // Node's TLS is still on the stack: closing the socket below it from here ends the process (26.10).
    await turn()
    socket.on('error', () => {})
    return new RawHttp2(socket, raw)
  }

  /** TCP RST. */
  reset(): void {
    this.#raw.resetAndDestroy()
  }

  /** A connection on which preface and SETTINGS have been exchanged. */
  static async open(port: number): Promise<RawHttp2> {
    const client = await RawHttp2.connect(port)
    client.send(PREFACE, frame('SETTINGS'))
    await client.frame(({ name, flags }) => name === 'SETTINGS' && flags === 0)
    client.send(frame('SETTINGS', { flags: ACK }))
    return client
  }

  /** All in one write. */
  send(...parts: (Buffer | string)[]): void {
    if (this.socket.destroyed) return
    this.socket.write(
      Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part))),
    )
  }

  /** The first frame received so far, or later, that `matches`. Rejects when the connection ends without one. */
  async frame(matches: (frame: ReceivedFrame) => boolean): Promise<ReceivedFrame> {
    for (;;) {
      const found = this.frames.find(matches)
      if (found !== undefined) return found
      if (this.socket.destroyed) throw new Error('ended without the frame')
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  /** Resolves when so many frames have come that match. Looks at each once. */
  async several(count: number, matches: (frame: ReceivedFrame) => boolean): Promise<void> {
    let found = 0
    let seen = 0
    for (;;) {
      for (; seen < this.frames.length && found < count; seen++) {
        const received = this.frames[seen]
        if (received !== undefined && matches(received)) found++
      }
      if (found >= count) return
      if (this.socket.destroyed) throw new Error(`ended with ${found} of ${count} frames`)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  async closed(): Promise<void> {
    if (!this.socket.closed) await once(this.socket, 'close')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    await this.closed()
  }

  #onData(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (;;) {
      if (this.#rest.length < HEADER_BYTES) break
      const end = HEADER_BYTES + this.#rest.readUIntBE(0, 3)
      if (this.#rest.length < end) break
      this.frames.push({
        name: frameName(this.#rest[3] ?? 0),
        flags: this.#rest[4] ?? 0,
        stream: this.#rest.readUInt32BE(5),
        payload: this.#rest.subarray(HEADER_BYTES, end),
      })
      this.#rest = this.#rest.subarray(end)
    }
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }
}

/** A CONNECT with valid credentials. */
export function connectFrame(stream: number, authority: string, flags = 0): Buffer {
  const payload = headerBlock([
    [':method', 'CONNECT'],
    [':authority', authority],
    ['proxy-authorization', encodeBasicAuth(USER.username, USER.password)],
  ])
  return frame('HEADERS', { stream, flags: END_HEADERS | flags, payload })
}
