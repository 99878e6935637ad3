import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeHuffman, huffmanBytes, writeHuffman } from '../../../../src/wire/http2/huffman.ts'
import vectors from '../../../vectors/hpack.json' with { type: 'json' }
import { bitsOf, bytesOf, slowHuffman, slowUnhuffman } from './slow-hpack.ts'

const EVERY_BYTE = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte))
const latin1 = fc.uint8Array({ maxLength: 120 }).map((bytes) => Buffer.from(bytes).toString('latin1'))
/** What headers consist of: codes of 5 to 8 bits. */
const ordinary = fc.string({ unit: 'grapheme-ascii', maxLength: 120 })

function encode(text: string): Buffer {
  const target = Buffer.alloc(huffmanBytes(text))
  expect(writeHuffman(text, target, 0)).toBe(target.length)
  return target
}

/** The text, or the fault. */
function decode(bytes: Uint8Array): string {
  try {
    return decodeHuffman(bytes, 0, bytes.length)
  } catch (error) {
    expect(error).toMatchObject({ code: 'malformed', fault: 'bad_huffman' })
    return 'bad_huffman'
  }
}

describe('the Huffman code', () => {
  it('the Huffman code has every code of RFC 7541 appendix B', () => {
    for (const [symbol, character] of EVERY_BYTE.entries()) {
      const [hex, bits] = vectors.huffman[symbol] as [string, number]
      const code = Number.parseInt(hex, 16).toString(2).padStart(bits, '0')
      const written = bitsOf(encode(character))
      expect(written.slice(0, bits)).toBe(code)
      expect(written.slice(bits)).toMatch(/^1{0,7}$/)
    }
  })

  it('Huffman coding brings every byte and every pair of bytes through', () => {
    expect(decode(encode(EVERY_BYTE.join('')))).toBe(EVERY_BYTE.join(''))
    const wrong = EVERY_BYTE.flatMap((first) =>
      EVERY_BYTE.map((second) => first + second).filter((pair) => decode(encode(pair)) !== pair),
    )
    expect(wrong).toEqual([])
  })

  it('Huffman encoding writes what a slow encoder writes', () => {
    fc.assert(
      fc.property(fc.oneof(latin1, ordinary), (text) => {
        expect(bitsOf(encode(text))).toBe(slowHuffman(text))
      }),
    )
  })

  it('Huffman decoding of any bytes gives what a slow decoder gives', () => {
    const coded = fc.oneof(latin1, ordinary).map((text) => bytesOf(slowHuffman(text)))
    const changed = fc.tuple(coded, fc.nat(), fc.nat(255)).map(([bytes, at, byte]) => {
      const copy = Buffer.from(bytes)
      if (copy.length > 0) copy[at % copy.length] = byte
      return copy
    })
    fc.assert(
      fc.property(fc.oneof(coded, changed, fc.uint8Array({ maxLength: 40 })), (bytes) => {
        expect(decode(bytes)).toBe(slowUnhuffman(bitsOf(bytes)) ?? 'bad_huffman')
      }),
    )
  })

  it('Huffman decoding accepts up to 7 bits of padding, all of them 1', () => {
    // `0` has the code 00000, `a` 00011.
    expect(decode(bytesOf('00000111'))).toBe('0')
    expect(decode(bytesOf(`${'00011'.repeat(8)}11111111`))).toBe('bad_huffman')
    expect(decode(bytesOf(`${'00011'.repeat(5)}1111111`))).toBe('aaaaa')
    expect(decode(bytesOf('00000110'))).toBe('bad_huffman')
    expect(decode(bytesOf('0000011111111111'))).toBe('bad_huffman')
    expect(decode(bytesOf('11111111'))).toBe('bad_huffman')
    expect(decode(Buffer.alloc(0))).toBe('')
  })

  it('Huffman decoding refuses EOS, wherever it stands', () => {
    const eos = '1'.repeat(30)
    expect(decode(bytesOf(`${eos}11`))).toBe('bad_huffman')
    expect(decode(bytesOf(`00011${eos}00011`))).toBe('bad_huffman')
    expect(decode(bytesOf(`00011${eos}${'00011'.repeat(5)}1111`))).toBe('bad_huffman')
  })

  it('Huffman decoding takes strings of any length', () => {
    for (const length of [4000, 5119, 5120, 8191, 8192, 100_000]) {
      const text = '0'.repeat(length)
      expect(decode(encode(text))).toBe(text)
    }
  })

  it('characters that are not bytes have no Huffman code', () => {
    expect(huffmanBytes('ā')).toBeNaN()
  })
})
