/**
 * The two tables of HPACK in one address space (RFC 7541 section 2.3 and appendix A).
 *
 *   index   1 ... 61       62             63   ...
 *           static table   newest entry   the one before, ... the oldest
 *
 * An entry counts the bytes of its name and value and 32 more. What does not fit pushes out the oldest ones.
 */
import { HpackError } from './hpack-error.ts'

const ENTRY_OVERHEAD_BYTES = 32
/** Entries that the ring has room for at first; it doubles. A table of 4096 bytes has at most 128. */
const FIRST_CAPACITY = 16

/** Appendix A, from index 1. */
const STATIC_TABLE: readonly (readonly [name: string, value?: string])[] = [
  [':authority'],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset'],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language'],
  ['accept-ranges'],
  ['accept'],
  ['access-control-allow-origin'],
  ['age'],
  ['allow'],
  ['authorization'],
  ['cache-control'],
  ['content-disposition'],
  ['content-encoding'],
  ['content-language'],
  ['content-length'],
  ['content-location'],
  ['content-range'],
  ['content-type'],
  ['cookie'],
  ['date'],
  ['etag'],
  ['expect'],
  ['expires'],
  ['from'],
  ['host'],
  ['if-match'],
  ['if-modified-since'],
  ['if-none-match'],
  ['if-range'],
  ['if-unmodified-since'],
  ['last-modified'],
  ['link'],
  ['location'],
  ['max-forwards'],
  ['proxy-authenticate'],
  ['proxy-authorization'],
  ['range'],
  ['referer'],
  ['refresh'],
  ['retry-after'],
  ['server'],
  ['set-cookie'],
  ['strict-transport-security'],
  ['transfer-encoding'],
  ['user-agent'],
  ['vary'],
  ['via'],
  ['www-authenticate'],
]
const STATIC_ENTRIES = STATIC_TABLE.length
const STATIC_NAMES = STATIC_TABLE.map(([name]) => name)
const STATIC_VALUES = STATIC_TABLE.map(([, value = '']) => value)

/** Index of the first entry of the static table with this name; undefined when there is none. */
export function staticIndexOf(name: string): number | undefined {
  const at = STATIC_NAMES.indexOf(name)
  return at < 0 ? undefined : at + 1
}

/** What one side of a connection has to know to read the other's indexes. Names and values are latin1. */
export class HpackTable {
  #maxBytes: number
  #bytes = 0
  /** Rings of `#capacity`, a power of two; the newest entry is at `#newest`, older ones before it. */
  #names: string[] = []
  #values: string[] = []
  #capacity = FIRST_CAPACITY
  #newest = -1
  #entries = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** @throws HpackError `bad_index`, as {@link valueAt} does. */
  nameAt(index: number): string {
    const name = index <= STATIC_ENTRIES ? STATIC_NAMES[index - 1] : this.#names[this.#slotOf(index)]
    if (name === undefined) throw new HpackError('bad_index')
    return name
  }

  valueAt(index: number): string {
    const value = index <= STATIC_ENTRIES ? STATIC_VALUES[index - 1] : this.#values[this.#slotOf(index)]
    if (value === undefined) throw new HpackError('bad_index')
    return value
  }

  /** An entry larger than the whole table empties it, and is no error (section 4.4). */
  insert(name: string, value: string): void {
    const bytes = name.length + value.length + ENTRY_OVERHEAD_BYTES
    this.#evictDownTo(this.#maxBytes - bytes)
    if (bytes > this.#maxBytes) return
    if (this.#entries === this.#capacity) this.#grow()
    this.#newest = (this.#newest + 1) & (this.#capacity - 1)
    this.#names[this.#newest] = name
    this.#values[this.#newest] = value
    this.#entries += 1
    this.#bytes += bytes
  }

  /** Changes the limit; a lower one pushes out the oldest entries at once (section 4.3). */
  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes
    this.#evictDownTo(maxBytes)
  }

  #slotOf(index: number): number {
    const age = index - STATIC_ENTRIES - 1
    if (age >= this.#entries) throw new HpackError('bad_index')
    return (this.#newest - age) & (this.#capacity - 1)
  }

  #evictDownTo(bytes: number): void {
    while (this.#entries > 0 && this.#bytes > bytes) {
      const oldest = (this.#newest - this.#entries + 1) & (this.#capacity - 1)
      this.#bytes -=
        (this.#names[oldest] ?? '').length + (this.#values[oldest] ?? '').length + ENTRY_OVERHEAD_BYTES
      // Lets go of the strings.
      this.#names[oldest] = ''
      this.#values[oldest] = ''
      this.#entries -= 1
    }
  }

  /** The rings are full: the oldest entry is behind the newest. */
  #grow(): void {
    const unrolled = (ring: readonly string[]): string[] => [
      ...ring.slice(this.#newest + 1),
      ...ring.slice(0, this.#newest + 1),
    ]
    this.#names = unrolled(this.#names)
    this.#values = unrolled(this.#values)
    this.#newest = this.#entries - 1
    this.#capacity *= 2
  }
}
