/** The content of an HTTP/1.1 answer on its way out, framed as its head says (RFC 9112 section 6). */
import type { TLSSocket } from 'node:tls'
import { Writable } from 'node:stream'

/** `none`: the answer has no content, whatever is written; `open`: it ends with the connection. */
export type AnswerFraming =
  { readonly kind: 'none' | 'chunked' | 'open' } | { readonly kind: 'sized'; readonly bytes: number }

type Done = (error?: Error | null) => void

interface Pending {
  readonly chunk: Buffer
}

/** A write is done when the socket has passed it on, so that callers know what is still in memory. */
export class Http1Answer extends Writable {
  readonly #socket: TLSSocket
  readonly #framing: AnswerFraming['kind']
  #left: number

  constructor(socket: TLSSocket, framing: AnswerFraming) {
    super({ decodeStrings: true })
    this.#socket = socket
    this.#framing = framing.kind
    this.#left = framing.kind === 'sized' ? framing.bytes : Infinity
    // Its users learn of the end from 'close'.
    this.on('error', ignoreError)
  }

  /** Less content was written than the head announced: what the client got is no whole answer. */
  get isShort(): boolean {
    return this.#framing === 'sized' && this.#left > 0
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#send(chunk, done)
  }

  override _writev(chunks: readonly Pending[], done: Done): void {
    const last = chunks.length - 1
    this.#socket.cork()
    for (const [index, { chunk }] of chunks.entries()) this.#send(chunk, index === last ? done : undefined)
    this.#socket.uncork()
  }

  override _final(done: Done): void {
    if (this.#framing === 'chunked') this.#socket.write('0\r\n\r\n', 'latin1', done)
    else done()
  }

  #send(chunk: Buffer, done?: Done): void {
    const socket = this.#socket
    const part = chunk.length <= this.#left ? chunk : chunk.subarray(0, this.#left)
    this.#left -= part.length
    if (part.length === 0 || this.#framing === 'none') return done?.()
    if (this.#framing !== 'chunked') return void socket.write(part, done)
    socket.cork()
    socket.write(`${part.length.toString(16)}\r\n`, 'latin1')
    socket.write(part)
    socket.write('\r\n', 'latin1', done)
    socket.uncork()
  }
}

function ignoreError(): void {}
