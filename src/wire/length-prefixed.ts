/**
 * Splits a byte stream into frames `length u32 | body` (specification 6.3, 6.4), however it is cut into chunks.
 *
 * A frame that lies whole in one chunk is handed over as a view of that chunk; one that spans chunks is collected in a
 * buffer of exactly its size, each byte copied once. At most one frame is held, never more than the maximum.
 */
import { EndpointError } from '../errors.ts'

const PREFIX_BYTES = 4

/** Called with `bytes[start, end)`, one body. */
type OnBody = (bytes: Buffer, start: number, end: number) => void

export class LengthPrefixedDecoder {
  readonly #maxLength: number
  readonly #onBody: OnBody
  /** The value so far of a length prefix that is still incomplete. */
  #prefix = 0
  #prefixBytes = 0
  /** A body that spans chunks. */
  #partial: Buffer | undefined
  #partialBytes = 0
  #broken = false

  /** @param maxLength largest `length` accepted, in bytes. */
  constructor(maxLength: number, onBody: OnBody) {
    this.#maxLength = maxLength
    this.#onBody = onBody
  }

  /** Whether the bytes so far end inside a frame. */
  get midFrame(): boolean {
    return this.#prefixBytes > 0 || this.#partial !== undefined
  }

  /**
   * Takes the next bytes and hands over every body they complete, before it returns or throws.
   * @throws EndpointError `too_long` for a length above the maximum: where the next frame begins
   *   cannot be known, so every further push throws too.
   */
  push(chunk: Buffer): void {
    let offset = this.#partial === undefined ? 0 : this.#fill(chunk, 0)
    while (offset < chunk.length) {
      if (this.#prefixBytes > 0 || chunk.length - offset < PREFIX_BYTES) {
        this.#prefix = this.#prefix * 256 + (chunk[offset] ?? 0)
        this.#prefixBytes += 1
        offset += 1
        if (this.#prefixBytes < PREFIX_BYTES) continue
      } else {
        this.#prefix = chunk.readUInt32BE(offset)
        offset += PREFIX_BYTES
      }
      offset = this.#begin(chunk, offset)
    }
    if (this.#broken) throw new EndpointError('too_long', 'frame length above the maximum')
  }

  /**
   * The prefix is complete: hands over the body, or starts to collect it. Returns the offset after the bytes it used.
   */
  #begin(chunk: Buffer, offset: number): number {
    const length = this.#prefix
    this.#prefix = 0
    this.#prefixBytes = 0
    if (length > this.#maxLength || this.#broken) {
      this.#broken = true
      return chunk.length
    }
    const end = offset + length
    if (end <= chunk.length) {
      this.#onBody(chunk, offset, end)
      return end
    }
    this.#partial = Buffer.allocUnsafeSlow(length)
    this.#partialBytes = 0
    return this.#fill(chunk, offset)
  }

  #fill(chunk: Buffer, offset: number): number {
    const partial = this.#partial
    if (partial === undefined) return offset
    const copied = chunk.copy(partial, this.#partialBytes, offset)
    this.#partialBytes += copied
    if (this.#partialBytes === partial.length) {
      this.#partial = undefined
      this.#onBody(partial, 0, partial.length)
    }
    return offset + copied
  }
}
