/**
 * Streams that we have finished and the client has not. The client gets a moment to end its side; then the stream is
 * reset with NO_ERROR (RFC 9113 section 8.1), so that answered requests never pile up. Resetting at once would be
 * legal, but clients that read the reset first lose the answer (node:http2 does).
 */
import type { Clock, Timer } from '../clock.ts'

const LINGER_MS = 2000

export interface Lingering {
  /** True when there is nothing left to do. */
  readonly closed: boolean
  /** Ends it without an error. */
  release(): void
}

export class LingerQueue {
  readonly #clock: Clock
  readonly #waiting: { since: number; stream: Lingering }[] = []
  #timer: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(stream: Lingering): void {
    this.#waiting.push({ since: this.#clock.now(), stream })
    this.#timer ??= this.#clock.every(LINGER_MS / 2, () => this.#sweep())
  }

  destroy(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#waiting.length = 0
  }

  #sweep(): void {
    const limit = this.#clock.now() - LINGER_MS
    let due = 0
    for (const { since, stream } of this.#waiting) {
      if (since > limit && !stream.closed) break
      if (!stream.closed) stream.release()
      due++
    }
    this.#waiting.splice(0, due)
    if (this.#waiting.length === 0) this.destroy()
  }
}
