/**
 * A stream as a Duplex, for those who do not relay TCP: web pages, UDP, ICMP. The client's window is given back as its
 * bytes are read.
 */
import { Duplex } from 'node:stream'
import type { TunnelLoss, TunnelReceiver } from '../../contract/tunnel-stream.ts'
import { keptPiece } from '../../wire/kept-piece.ts'
import type { Http2Stream } from './stream.ts'

type Done = (error?: Error | null) => void

export class StreamDuplex extends Duplex implements TunnelReceiver {
  readonly #stream: Http2Stream
  /** Given to the readable side, and not yet given back to the window. */
  #unreadBytes = 0
  /** The write under way. */
  #writing: Done | undefined
  #ending: Done | undefined

  constructor(stream: Http2Stream) {
    super({ allowHalfOpen: true, autoDestroy: true, emitClose: true })
    this.#stream = stream
    // Its users learn of the end from 'close'.
    this.on('error', ignoreError)
    stream.start(this)
  }

  // From the client.

  onData(chunk: Buffer): void {
    this.#unreadBytes += chunk.length
    // Datagrams are decoded at once; whoever relays content may keep it for long.
    const isDecoded = this.#stream.keepsWrites && this.readableFlowing === true
    this.push(isDecoded ? chunk : keptPiece(chunk))
    this.#creditRead()
  }

  onEnd(): void {
    this.push(null)
  }

  onRoom(): void {
    const done = this.#writing
    this.#writing = undefined
    done?.()
  }

  onFlushed(): void {
    const done = this.#ending
    this.#ending = undefined
    done?.()
  }

  /** After a reset it closes without `end`: what was cut must not look complete. */
  onLost(how: TunnelLoss): void {
    if (how !== 'left' || this.readableEnded) return void this.destroy()
    // What the client sent before it left is still there to be read.
    this.once('end', () => this.destroy())
    this.onRoom()
    this.onFlushed()
  }

  // To the client.

  /**
   * `_read` will not do: Node calls it before it takes anything out, and not again until something is pushed, which a
   * client without a window will not cause.
   */
  override read(bytes?: number): unknown {
    const chunk: unknown = super.read(bytes)
    this.#creditRead()
    return chunk
  }

  override _read(): void {}

  #creditRead(): void {
    const read = this.#unreadBytes - this.readableLength
    if (read <= 0) return
    this.#unreadBytes -= read
    this.#stream.credit(read)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#stream.write(chunk, 0, chunk.length)) return done()
    this.#writing = done
  }

  override _final(done: Done): void {
    this.#ending = done
    this.#stream.end()
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#writing = undefined
    this.#ending = undefined
    // Destroyed by its user, not by its end.
    this.#stream.reset('cancel')
    done(error)
  }
}

function ignoreError(): void {}
