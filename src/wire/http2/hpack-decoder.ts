/**
 * Reads header blocks (RFC 7541 section 6).
 *
 *   1 index(7)                                      field of a table
 *   0 1 index(6)       [name] value                 literal, also becomes the newest entry of the dynamic table
 *   0 0 1 size(5)                                   the dynamic table's new maximum, before the first field
 *   0 0 0 never index(4)  [name] value              literal; index 0: the name follows
 *
 *   name, value:  huffman(1) length(7) bytes
 *   integers:     the number in brackets is the bits of the first byte; all of them 1: groups of 7 bits follow, the
 *                 lowest first, each with a bit before it that says whether another one follows
 */
import { HpackError } from './hpack-error.ts'
import { HpackTable } from './hpack-table.ts'
import { decodeHuffman } from './huffman.ts'
import { MEMO_MAX_BYTES, MEMO_MIN_BYTES, ValueMemo } from './value-memo.ts'

/** Bytes of an integer after its first; values up to 2 MiB. The same limit as in nginx; RFC 7541 section 5.1 wants one. */
const MAX_INTEGER_BYTES = 3

const INDEXED = 0x80
const WITH_INDEXING = 0x40
const TABLE_SIZE = 0x20
const HUFFMAN = 0x80

export interface FieldSink {
  /**
   * Both are latin1 strings, exactly as sent: an empty name, upper case and control characters come through. A block may
   * give many times its own size, because one byte can name a table's largest entry: a sink that has had enough throws.
   */
  onField(name: string, value: string): void
}

export interface HpackDecoderOptions {
  /** Largest length of a string as sent; no limit when left out. */
  readonly maxStringBytes?: number
  /** Takes a change of the table's size behind a field too, as nginx does; RFC 7541 section 4.2 forbids it. */
  readonly lateTableSize?: boolean
  /** Takes padding of any length that is not EOS itself, as nginx does; RFC 7541 section 5.2 allows 7 bits. */
  readonly longPadding?: boolean
}

/** EOS has one more. */
const ANY_PADDING_BITS = 29
const NO_BYTES = Buffer.alloc(0)

/** The reading end of one connection. */
export class HpackDecoder {
  readonly #maxTableBytes: number
  readonly #maxStringBytes: number
  readonly #lateTableSize: boolean
  readonly #maxPaddingBits: number | undefined
  readonly #table: HpackTable
  readonly #memo = new ValueMemo()
  #block: Buffer = NO_BYTES
  #offset = 0

  /** @param maxTableBytes the SETTINGS_HEADER_TABLE_SIZE that we announced, 4096 when we announced none. */
  constructor(maxTableBytes: number, options: HpackDecoderOptions = {}) {
    this.#maxTableBytes = maxTableBytes
    this.#maxStringBytes = options.maxStringBytes ?? Number.POSITIVE_INFINITY
    this.#lateTableSize = options.lateTableSize ?? false
    this.#maxPaddingBits = options.longPadding === true ? ANY_PADDING_BITS : undefined
    this.#table = new HpackTable(maxTableBytes)
  }

  /**
   * Decodes one whole header block: the payloads of HEADERS and its CONTINUATION frames, joined. Keeps nothing of
   * `block`. After an error, of the block or thrown by the sink, the table is not what the client believes it to be:
   * the connection has to end.
   * @throws HpackError for everything that RFC 7541 calls a decoding error.
   */
  decode(block: Buffer, sink: FieldSink): void {
    this.#block = block
    this.#offset = 0
    try {
      this.#takeTableSizes()
      while (this.#offset < block.length) {
        this.#takeField(block[this.#offset] ?? 0, sink)
        if (this.#lateTableSize) this.#takeTableSizes()
      }
    } finally {
      this.#block = NO_BYTES
    }
  }

  /** There may be several: a lower size on the way to the final one. */
  #takeTableSizes(): void {
    while (((this.#block[this.#offset] ?? 0) & 0xe0) === TABLE_SIZE) {
      const maxBytes = this.#integer(0x1f)
      if (maxBytes > this.#maxTableBytes) throw new HpackError('bad_table_size')
      this.#table.resize(maxBytes)
    }
  }

  #takeField(first: number, sink: FieldSink): void {
    if (first >= INDEXED) {
      const index = this.#integer(0x7f)
      sink.onField(this.#table.nameAt(index), this.#table.valueAt(index))
    } else if (first >= WITH_INDEXING) {
      const name = this.#name(0x3f)
      const value = this.#string()
      this.#table.insert(name, value)
      sink.onField(name, value)
    } else if (first >= TABLE_SIZE) {
      throw new HpackError('bad_table_size')
    } else {
      const name = this.#name(0x0f)
      sink.onField(name, this.#unindexedValue())
    }
  }

  #name(mask: number): string {
    const index = this.#integer(mask)
    return index === 0 ? this.#string() : this.#table.nameAt(index)
  }

  #string(): string {
    const huffman = this.#takeHuffmanFlag()
    const start = this.#takeString()
    return this.#decode(this.#block, start, this.#offset, huffman)
  }

  #unindexedValue(): string {
    const huffman = this.#takeHuffmanFlag()
    const start = this.#takeString()
    const [block, end] = [this.#block, this.#offset]
    if (end - start < MEMO_MIN_BYTES || end - start > MEMO_MAX_BYTES) {
      return this.#decode(block, start, end, huffman)
    }
    const known = this.#memo.find(block, start, end, huffman)
    if (known !== undefined) return known
    const value = this.#decode(block, start, end, huffman)
    this.#memo.keep(block, start, end, huffman, value)
    return value
  }

  #decode(block: Buffer, start: number, end: number, huffman: boolean): string {
    // Strings are copies: none keeps the block.
    if (!huffman) return block.toString('latin1', start, end)
    return decodeHuffman(block, start, end, this.#maxPaddingBits)
  }

  #takeHuffmanFlag(): boolean {
    return ((this.#block[this.#offset] ?? 0) & HUFFMAN) !== 0
  }

  /** Moves past a string and returns where its bytes begin. */
  #takeString(): number {
    const length = this.#integer(0x7f)
    if (length > this.#maxStringBytes) throw new HpackError('long_string')
    const start = this.#offset
    if (length > this.#block.length - start) throw new HpackError('truncated')
    this.#offset = start + length
    return start
  }

  #integer(mask: number): number {
    const block = this.#block
    let at = this.#offset
    if (at >= block.length) throw new HpackError('truncated')
    let value = (block[at] ?? 0) & mask
    at += 1
    if (value === mask) {
      for (let shift = 0; ; shift += 7) {
        if (at >= block.length) throw new HpackError('truncated')
        if (shift === 7 * MAX_INTEGER_BYTES) throw new HpackError('long_integer')
        const byte = block[at] ?? 0
        at += 1
        value += (byte & 0x7f) << shift
        if (byte < 0x80) break
      }
    }
    this.#offset = at
    return value
  }
}
