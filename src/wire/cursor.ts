/** Big-endian reading of a byte range (specification 1.3, 11.1). The only error is "too short". */
import { EndpointError } from '../errors.ts'

export class Cursor {
  readonly #bytes: Uint8Array
  readonly #end: number
  #offset: number

  /** Reads `bytes` from `start` to `end` without copying. */
  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes
    this.#offset = start
    this.#end = end
  }

  /** Position in the underlying bytes. */
  get offset(): number {
    return this.#offset
  }

  get remaining(): number {
    return this.#end - this.#offset
  }

  /** @throws EndpointError `too_short`, as every read here does. */
  u8(): number {
    return this.#byte(this.#take(1))
  }

  u16(): number {
    const at = this.#take(2)
    return this.#byte(at) * 0x100 + this.#byte(at + 1)
  }

  u24(): number {
    const at = this.#take(3)
    return this.#byte(at) * 0x1_0000 + this.#byte(at + 1) * 0x100 + this.#byte(at + 2)
  }

  u32(): number {
    const at = this.#take(4)
    const high = this.#byte(at) * 0x100 + this.#byte(at + 1)
    return high * 0x1_0000 + this.#byte(at + 2) * 0x100 + this.#byte(at + 3)
  }

  /** A view of the next `length` bytes. It belongs to the owner of the underlying bytes. */
  bytes(length: number): Uint8Array {
    const start = this.#take(length)
    return this.#bytes.subarray(start, start + length)
  }

  skip(length: number): void {
    this.#take(length)
  }

  /** A cursor over the next `length` bytes; this one moves past them. */
  slice(length: number): Cursor {
    const start = this.#take(length)
    return new Cursor(this.#bytes, start, start + length)
  }

  #byte(at: number): number {
    return this.#bytes[at] ?? 0
  }

  /** Moves past `length` bytes, or throws without moving, and returns where they begin. */
  #take(length: number): number {
    const start = this.#offset
    if (length > this.#end - start) {
      throw new EndpointError('too_short', `${length} bytes wanted, ${this.#end - start} left`)
    }
    this.#offset = start + length
    return start
  }
}
