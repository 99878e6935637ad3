/**
 * The oracle: a second HPACK, slow and obvious. It works on texts of the digits 0 and 1, keeps its table as a list with
 * the newest entry first, has the codes and the static table as the RFC prints them, and shares nothing with the codec
 * under test.
 */
import vectors from '../../../vectors/hpack.json' with { type: 'json' }

export type Field = readonly [name: string, value: string]

/** One field, or a change of the table's size, and how to write it. */
export type Written =
  | { readonly kind: 'size'; readonly bytes: number }
  | {
      readonly kind: 'field'
      readonly field: Field
      /** `indexed` where both tables have no such entry is `with`. */
      readonly how: 'indexed' | 'with' | 'without' | 'never'
      /** Refers to the name by index, where there is one. */
      readonly byIndex: boolean
      readonly huffmanName: boolean
      readonly huffmanValue: boolean
    }

const STATIC = vectors.staticTable as unknown as readonly Field[]
const CODES = vectors.huffman.map(([hex, bits]) =>
  Number.parseInt(hex as string, 16)
    .toString(2)
    .padStart(bits as number, '0'),
)
const SYMBOLS = new Map(CODES.map((code, symbol) => [code, symbol]))
/** Both limit how many groups of 7 bits an integer may have. */
const MAX_GROUPS = 3

export function bitsOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
}

export function bytesOf(bits: string): Buffer {
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
}

/** With EOS as far as it is needed to fill the last byte. */
export function slowHuffman(text: string): string {
  const bits = Array.from(Buffer.from(text, 'latin1'), (byte) => CODES[byte]).join('')
  return bits.padEnd(Math.ceil(bits.length / 8) * 8, '1')
}

/** Undefined when it is malformed. */
export function slowUnhuffman(bits: string): string | undefined {
  let [text, code] = ['', '']
  for (const bit of bits) {
    code += bit
    const symbol = SYMBOLS.get(code)
    if (symbol === undefined) continue
    if (symbol === 256) return undefined
    text += String.fromCharCode(symbol)
    code = ''
  }
  return code.length <= 7 && !code.includes('0') ? text : undefined
}

export function slowInteger(value: number, prefixBits: number): string {
  const limit = 2 ** prefixBits - 1
  if (value < limit) return value.toString(2).padStart(prefixBits, '0')
  let bits = '1'.repeat(prefixBits)
  let rest = value - limit
  for (; rest >= 128; rest = Math.floor(rest / 128)) bits += `1${(rest % 128).toString(2).padStart(7, '0')}`
  return bits + rest.toString(2).padStart(8, '0')
}

export function slowString(text: string, huffman: boolean): string {
  const body = huffman ? slowHuffman(text) : bitsOf(Buffer.from(text, 'latin1'))
  return (huffman ? '1' : '0') + slowInteger(body.length / 8, 7) + body
}

/** One side of a connection; used for encoding or for decoding. */
export class SlowHpack {
  readonly limit: number
  maxBytes: number
  table: Field[] = []
  #bits = ''

  constructor(maxBytes: number) {
    this.limit = maxBytes
    this.maxBytes = maxBytes
  }

  encode(list: readonly Written[]): Buffer {
    return bytesOf(list.map((written) => this.#encodeOne(written)).join(''))
  }

  #encodeOne(written: Written): string {
    if (written.kind === 'size') {
      this.maxBytes = written.bytes
      this.#evict()
      return `001${slowInteger(written.bytes, 5)}`
    }
    const { field, how } = written
    const all = [...STATIC, ...this.table]
    const whole = all.findIndex(([name, value]) => name === field[0] && value === field[1])
    if (how === 'indexed' && whole >= 0) return `1${slowInteger(whole + 1, 7)}`
    const named = written.byIndex ? all.findLastIndex(([name]) => name === field[0]) + 1 : 0
    const strings =
      (named === 0 ? slowString(field[0], written.huffmanName) : '') +
      slowString(field[1], written.huffmanValue)
    if (how === 'without') return `0000${slowInteger(named, 4)}${strings}`
    if (how === 'never') return `0001${slowInteger(named, 4)}${strings}`
    this.#add(field)
    return `01${slowInteger(named, 6)}${strings}`
  }

  /** Undefined when the block is malformed. */
  decode(block: Uint8Array): Field[] | undefined {
    const fields: Field[] = []
    this.#bits = bitsOf(block)
    try {
      while (this.#bits !== '') {
        if (this.#skip('001')) {
          this.maxBytes = this.#integer(5)
          if (this.maxBytes > this.limit || fields.length > 0) return undefined
          this.#evict()
          continue
        }
        fields.push(this.#field())
      }
      return fields
    } catch {
      return undefined
    }
  }

  #field(): Field {
    if (this.#skip('1')) return this.#at(this.#integer(7))
    if (this.#skip('01')) {
      const field: Field = [this.#name(6), this.#string()]
      this.#add(field)
      return field
    }
    this.#take(4)
    return [this.#name(4), this.#string()]
  }

  #name(prefixBits: number): string {
    const index = this.#integer(prefixBits)
    return index === 0 ? this.#string() : this.#at(index)[0]
  }

  #string(): string {
    const huffman = this.#take(1) === '1'
    const body = this.#take(8 * this.#integer(7))
    const text = huffman ? slowUnhuffman(body) : bytesOf(body).toString('latin1')
    if (text === undefined) throw new Error('malformed')
    return text
  }

  #integer(prefixBits: number): number {
    const prefix = Number.parseInt(this.#take(prefixBits), 2)
    if (prefix < 2 ** prefixBits - 1) return prefix
    let value = prefix
    for (let group = 0; group < MAX_GROUPS; group += 1) {
      const more = this.#take(1)
      value += Number.parseInt(this.#take(7), 2) * 128 ** group
      if (more === '0') return value
    }
    throw new Error('malformed')
  }

  #at(index: number): Field {
    const field = [...STATIC, ...this.table][index - 1]
    if (field === undefined) throw new Error('malformed')
    return field
  }

  #add(field: Field): void {
    this.table.unshift(field)
    this.#evict()
  }

  #evict(): void {
    const bytes = (): number =>
      this.table.map(([name, value]) => name.length + value.length + 32).reduce((sum, size) => sum + size, 0)
    while (bytes() > this.maxBytes) this.table.pop()
  }

  #skip(bits: string): boolean {
    if (!this.#bits.startsWith(bits)) return false
    this.#bits = this.#bits.slice(bits.length)
    return true
  }

  #take(count: number): string {
    if (this.#bits.length < count) throw new Error('malformed')
    const taken = this.#bits.slice(0, count)
    this.#bits = this.#bits.slice(count)
    return taken
  }
}
