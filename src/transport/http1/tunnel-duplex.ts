/** A tunnel's stream as a Duplex, for those who do not read and write it in calls. */
import { Duplex } from 'node:stream'
import type { TunnelReceiver, TunnelStream } from '../../contract/tunnel-stream.ts'

type Done = (error?: Error | null) => void

export class TunnelDuplex extends Duplex implements TunnelReceiver {
  readonly #stream: TunnelStream
  /** Delivered and not taken yet. */
  #held = 0
  #onRoom: Done | undefined
  #onFlushed: Done | undefined
  #over = false

  constructor(stream: TunnelStream) {
    super({ allowHalfOpen: true })
    this.#stream = stream
    this.on('error', ignoreError)
  }

  onData(chunk: Buffer): void {
    this.#held += chunk.length
    if (this.push(chunk)) this.#credit()
  }

  onEnd(): void {
    this.push(null)
  }

  onRoom(): void {
    const done = this.#onRoom
    this.#onRoom = undefined
    done?.()
  }

  onFlushed(): void {
    const done = this.#onFlushed
    this.#onFlushed = undefined
    done?.()
  }

  onLost(): void {
    this.#over = true
    this.destroy()
  }

  override _read(): void {
    this.#credit()
  }

  #credit(): void {
    const bytes = this.#held
    this.#held = 0
    if (bytes > 0) this.#stream.credit(bytes)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#stream.write(chunk, 0, chunk.length)) done()
    else this.#onRoom = done
  }

  override _final(done: Done): void {
    this.#onFlushed = done
    this.#stream.end()
  }

  override _destroy(error: Error | null, done: Done): void {
    const ended = this.readableEnded && this.writableFinished
    if (!this.#over && !ended) this.#stream.reset('no_error')
    this.#over = true
    done(error)
  }
}

function ignoreError(): void {}
