/**
 * How much a head may take: nginx's `client_header_buffer_size 1k` and `large_client_header_buffers 4 8k`, counted as
 * nginx fills them, without having them. A line lies in one buffer; one that does not fit into what is left of the
 * current buffer moves to the next, so a line has at most 8 KiB, and a head at most 33.
 */

const FIRST_BYTES = 1024
const LARGE_BYTES = 8192
const LARGE_BUFFERS = 4

export class HeadRoom {
  /** Bytes of the current line. */
  #line = 0
  /** What the current line may fill before it needs another buffer. */
  #room = FIRST_BYTES
  #buffers = 0

  /** Takes another byte of the current line. */
  take(): void {
    this.#line++
  }

  /** The line has ended, and another follows. */
  endLine(): void {
    this.#room -= this.#line
    this.#line = 0
  }

  /** Whether nginx could read another byte of the current line. */
  mayGrow(): boolean {
    if (this.#line < this.#room) return true
    if (this.#line >= LARGE_BYTES || this.#buffers === LARGE_BUFFERS) return false
    this.#buffers++
    this.#room = LARGE_BYTES
    return true
  }
}
