/**
 * Remembers the last two long values of a connection by their bytes. Clients send their credentials with each request as
 * a literal that no table keeps (RFC 7541 section 7.1.3): comparing costs less than decoding, and the same string needs
 * no memory again. Nothing leaks by the time that comparing takes: client and value belong to one connection.
 */

/** Shorter ones are decoded faster than found. */
export const MEMO_MIN_BYTES = 16
/** Longer ones would be kept as long as the connection lasts. */
export const MEMO_MAX_BYTES = 512
/** What a place grows by. */
const STEP_BYTES = 128

interface Place {
  bytes: Uint8Array
  length: number
  huffman: boolean
  value: string
}

const EMPTY = new Uint8Array(0)

export class ValueMemo {
  readonly #places: readonly [Place, Place] = [
    { bytes: EMPTY, length: 0, huffman: false, value: '' },
    { bytes: EMPTY, length: 0, huffman: false, value: '' },
  ]
  /** The place that served last. The other one is overwritten, so that one changing value does not displace a fixed one. */
  #served: 0 | 1 = 0

  /** The value whose bytes were `block[start, end)`; undefined when it is not remembered. */
  find(block: Uint8Array, start: number, end: number, huffman: boolean): string | undefined {
    const other = this.#other
    if (isSame(this.#places[this.#served], block, start, end, huffman))
      return this.#places[this.#served].value
    if (!isSame(this.#places[other], block, start, end, huffman)) return undefined
    this.#served = other
    return this.#places[other].value
  }

  /** Copies the bytes. They are not longer than {@link MEMO_MAX_BYTES}. */
  keep(block: Uint8Array, start: number, end: number, huffman: boolean, value: string): void {
    const place = this.#places[this.#other]
    const length = end - start
    if (place.bytes.length < length) {
      place.bytes = new Uint8Array(Math.ceil(length / STEP_BYTES) * STEP_BYTES)
    }
    for (let at = 0; at < length; at += 1) place.bytes[at] = block[start + at] ?? 0
    place.length = length
    place.huffman = huffman
    place.value = value
  }

  get #other(): 0 | 1 {
    return this.#served === 0 ? 1 : 0
  }
}

function isSame(place: Place, block: Uint8Array, start: number, end: number, huffman: boolean): boolean {
  if (place.length !== end - start || place.huffman !== huffman) return false
  const { bytes } = place
  // From the end: two values of one field begin alike more often than they end alike.
  for (let at = end - 1; at >= start; at -= 1) if (bytes[at - start] !== block[at]) return false
  return true
}
