/** A socket without a network: what the session writes is the peer's at once, and confirmed when the peer reads. */
import { Duplex } from 'node:stream'

export class MemorySocket extends Duplex {
  readonly #onBytes: (bytes: Buffer) => void
  #done: ((error?: Error | null) => void) | undefined

  constructor(onBytes: (bytes: Buffer) => void) {
    super({ allowHalfOpen: true })
    this.#onBytes = onBytes
  }

  /** A write waits for {@link confirm}. */
  get isWriting(): boolean {
    return this.#done !== undefined
  }

  confirm(): void {
    const done = this.#done
    this.#done = undefined
    done?.()
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#onBytes(Buffer.from(chunk))
    this.#done = done
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const writing = this.#done
    this.#done = undefined
    writing?.(new Error('the socket was destroyed'))
    done(error)
  }
}
