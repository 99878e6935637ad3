/** A socket whose writes are done when the test says so. */
import { Writable } from 'node:stream'

export class ManualSocket extends Writable {
  /** Everything written so far. */
  readonly writes: Buffer[] = []
  #done: ((error?: Error | null) => void) | undefined

  constructor() {
    super({ highWaterMark: 2 ** 30 })
    this.on('error', () => {})
  }

  /** A write is under way. */
  get isWriting(): boolean {
    return this.#done !== undefined
  }

  get bytes(): Buffer {
    return Buffer.concat(this.writes)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // A copy: the block is used again.
    this.writes.push(Buffer.from(chunk))
    this.#done = done
  }

  /** The write under way is done, or has failed. Whoever waits for it hears of it before this returns. */
  confirm(error?: Error): void {
    const done = this.#done
    this.#done = undefined
    done?.(error)
  }
}
