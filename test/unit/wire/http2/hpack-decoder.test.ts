import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HpackDecoder } from '../../../../src/wire/http2/hpack-decoder.ts'
import type { HpackDecoderOptions } from '../../../../src/wire/http2/hpack-decoder.ts'
import { HpackError } from '../../../../src/wire/http2/hpack-error.ts'
import vectors from '../../../vectors/hpack.json' with { type: 'json' }
import { bytesOf, slowHuffman, SlowHpack } from './slow-hpack.ts'
import type { Field, Written } from './slow-hpack.ts'

function decode(decoder: HpackDecoder, block: Buffer): Field[] {
  const fields: Field[] = []
  decoder.decode(block, { onField: (name, value) => void fields.push([name, value]) })
  return fields
}

function hexBytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex')
}

function decodeHex(hex: string, options: HpackDecoderOptions = {}): Field[] {
  return decode(new HpackDecoder(4096, options), hexBytes(hex))
}

function faultOf(hex: string, options: HpackDecoderOptions = {}): string {
  try {
    return JSON.stringify(decodeHex(hex, options))
  } catch (error) {
    expect(error).toMatchObject({ code: 'malformed' })
    return error instanceof HpackError ? error.fault : String(error)
  }
}

/** Names and values that come again, so that tables are used. */
const name = fc.oneof(
  fc.constantFrom(':method', ':path', ':authority', 'proxy-authorization', 'user-agent', 'x-a', 'x-b'),
  fc.string({ unit: 'binary-ascii', maxLength: 20 }),
)
const value = fc.oneof(
  fc.constantFrom('CONNECT', 'GET', '', 'example.org:443', `Basic ${'dXNlcjpwYXNz'.repeat(4)}`),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
)
const writtenField: fc.Arbitrary<Written> = fc.record({
  kind: fc.constant('field' as const),
  field: fc.tuple(name, value),
  how: fc.constantFrom('indexed', 'with', 'without', 'never'),
  byIndex: fc.boolean(),
  huffmanName: fc.boolean(),
  huffmanValue: fc.boolean(),
})
const size: fc.Arbitrary<Written> = fc.record({
  kind: fc.constant('size' as const),
  bytes: fc.oneof(fc.nat(4096), fc.nat(200)),
})
const block = fc
  .tuple(fc.array(size, { maxLength: 2 }), fc.array(writtenField, { maxLength: 12 }))
  .map(([sizes, fields]) => [...sizes, ...fields])

describe('decoding header blocks', () => {
  it.each(vectors.examples)('header blocks of RFC 7541 decode: $title', ({ tableBytes, blocks }) => {
    const decoder = new HpackDecoder(tableBytes)
    for (const { hex, fields, table } of blocks) {
      expect(decode(decoder, Buffer.from(hex, 'hex'))).toEqual(fields)
      const indexes = Buffer.from(table.map((_, at) => 0x80 + 62 + at))
      expect(decode(decoder, indexes)).toEqual(table)
      expect(() => decode(decoder, Buffer.from([0x80 + 62 + table.length]))).toThrow('bad index')
    }
  })

  it('what a slow encoder writes decodes, block after block', () => {
    fc.assert(
      fc.property(fc.array(block, { maxLength: 12 }), (blocks) => {
        const [decoder, oracle] = [new HpackDecoder(4096), new SlowHpack(4096)]
        for (const list of blocks) {
          const expected = list.flatMap((written) => (written.kind === 'field' ? [written.field] : []))
          expect(decode(decoder, oracle.encode(list))).toEqual(expected)
        }
      }),
    )
  })

  it('any bytes give what a slow decoder gives, errors included', () => {
    const encoded = block.map((list) => new SlowHpack(4096).encode(list))
    const changed = fc.tuple(encoded, fc.nat(), fc.nat(255)).map(([bytes, at, byte]) => {
      if (bytes.length > 0) bytes[at % bytes.length] = byte
      return bytes
    })
    const cut = fc.tuple(encoded, fc.nat()).map(([bytes, at]) => bytes.subarray(0, at % (bytes.length + 1)))
    const random = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes))
    fc.assert(
      fc.property(fc.array(fc.oneof(changed, cut, random), { maxLength: 6 }), (blocks) => {
        const [decoder, oracle] = [new HpackDecoder(4096), new SlowHpack(4096)]
        for (const bytes of blocks) {
          const expected = oracle.decode(bytes)
          if (expected === undefined) {
            expect(() => decode(decoder, bytes)).toThrow(HpackError)
            return
          }
          expect(decode(decoder, bytes)).toEqual(expected)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('a block cut anywhere inside a field is truncated', () => {
    const whole = '4188 2f91d35d055c87a7 0f0d 8349509f 1f2b ff00'.replaceAll(' ', '')
    const boundaries = [0, 10, 16]
    const long = Buffer.concat([Buffer.from(whole, 'hex'), Buffer.alloc(127, 0x18)])
    for (let end = 0; end < long.length; end += 1) {
      const outcome = faultOf(long.toString('hex', 0, end))
      if (boundaries.includes(end)) expect(outcome).toMatch(/^\[/)
      else expect(outcome).toBe('truncated')
    }
    expect(faultOf('ff')).toBe('truncated')
    expect(faultOf('ff80')).toBe('truncated')
    expect(faultOf('3f')).toBe('truncated')
    expect(faultOf('40')).toBe('truncated')
    expect(faultOf('4001')).toBe('truncated')
    expect(faultOf('400161')).toBe('truncated')
  })

  it('indexes that no table has are refused', () => {
    for (const hex of ['80', 'be', 'ff00', 'ffffff7f', '7f00 00', '0f2f 00', '1f2f 00']) {
      expect([hex, faultOf(hex)]).toEqual([hex, 'bad_index'])
    }
  })

  it('integers take at most four bytes, and no value overflows', () => {
    expect(faultOf('ff80808000')).toBe('long_integer')
    expect(faultOf('3fffffffff0f')).toBe('long_integer')
    expect(faultOf('00 7fffffffffffffffffff7f')).toBe('long_integer')
    expect(faultOf('00 7fffff7f')).toBe('truncated')
    // 1337 as in RFC 7541 appendix C.1.2, as a table size.
    expect(decodeHex('3f9a0a')).toEqual([])
    // Written longer than necessary.
    expect(decodeHex('3f808000 82')).toEqual([[':method', 'GET']])
  })

  it('strings that are no Huffman code are refused, in names and in values', () => {
    expect(faultOf('00 81ff 00')).toBe('bad_huffman')
    expect(faultOf('00 0161 84ffffffff')).toBe('bad_huffman')
    expect(faultOf('00 0161 8106')).toBe('bad_huffman')
  })

  it('a table size is taken up to the maximum, and only before the first field', () => {
    expect(decodeHex('20 3fe11f 82')).toEqual([[':method', 'GET']])
    expect(faultOf('3fe21f')).toBe('bad_table_size')
    expect(faultOf('82 20')).toBe('bad_table_size')
    expect(faultOf('82 20 84')).toBe('bad_table_size')
    expect(decodeHex('82 20 84', { lateTableSize: true })).toEqual([
      [':method', 'GET'],
      [':path', '/'],
    ])
    expect(decodeHex('82 20', { lateTableSize: true })).toEqual([[':method', 'GET']])
    expect(faultOf('82 3fe21f', { lateTableSize: true })).toBe('bad_table_size')
  })

  it('a lower table size forgets entries, and a higher one does not bring them back', () => {
    const decoder = new HpackDecoder(4096)
    decode(decoder, hexBytes('4001610131 4001620132'))
    expect(decode(decoder, Buffer.from('bebf', 'hex'))).toEqual([
      ['b', '2'],
      ['a', '1'],
    ])
    // 34 bytes are one entry's.
    expect(decode(decoder, hexBytes('3f03 3fe11f be'))).toEqual([['b', '2']])
    expect(() => decode(decoder, Buffer.from('bf', 'hex'))).toThrow('bad index')
  })

  it('a field may take its name from the entry that it pushes out', () => {
    const decoder = new HpackDecoder(34)
    decode(decoder, Buffer.from('4001610131', 'hex'))
    expect(decode(decoder, Buffer.from('7e0132', 'hex'))).toEqual([['a', '2']])
    expect(decode(decoder, Buffer.from('be', 'hex'))).toEqual([['a', '2']])
    expect(decode(decoder, Buffer.from('7e023333', 'hex'))).toEqual([['a', '33']])
    expect(() => decode(decoder, Buffer.from('be', 'hex'))).toThrow('bad index')
  })

  it('strings above the limit are refused before they are complete', () => {
    const options = { maxStringBytes: 4 }
    expect(decodeHex('00 0161 0462626262', options)).toEqual([['a', 'bbbb']])
    expect(faultOf('00 0161 05', options)).toBe('long_string')
    expect(faultOf('00 05', options)).toBe('long_string')
    expect(faultOf('00 0161 85', options)).toBe('long_string')
  })

  it('fields come exactly as sent', () => {
    expect(decodeHex('00 00 00')).toEqual([['', '']])
    expect(decodeHex('00 0241e9 03000d0a')).toEqual([['Aé', '\0\r\n']])
  })

  it('a sink stops a block that grows too much by throwing', () => {
    const decoder = new HpackDecoder(4096)
    const large = Buffer.concat([Buffer.from('4001617fa11e', 'hex'), Buffer.alloc(4000, 0x62)])
    const bomb = Buffer.concat([large, Buffer.alloc(16_000, 0xbe)])
    let bytes = 0
    const enough = new Error('enough')
    expect(() =>
      decoder.decode(bomb, {
        onField: (_, text) => {
          bytes += text.length
          if (bytes > 65_536) throw enough
        },
      }),
    ).toThrow(enough)
    expect(bytes).toBeLessThan(65_536 + 4096)
  })
})

describe('values that come again', () => {
  const credentials = `Basic ${Buffer.from('user:correct horse battery staple').toString('base64')}`
  const literal = (text: string): Buffer =>
    new SlowHpack(4096).encode([
      {
        kind: 'field',
        field: ['proxy-authorization', text],
        how: 'never',
        byIndex: true,
        huffmanName: true,
        huffmanValue: true,
      },
    ])

  it('a value whose bytes come again is right, whatever came between', () => {
    const text = fc.oneof(
      fc.constantFrom(
        credentials,
        credentials.replace('B', 'b'),
        `${credentials}=`,
        '/a/path/that/is/long/enough',
      ),
      fc.string({ unit: 'binary-ascii', minLength: 10, maxLength: 700 }),
    )
    const written: fc.Arbitrary<Written> = fc.record({
      kind: fc.constant('field' as const),
      field: fc.tuple(fc.constantFrom('proxy-authorization', 'cookie'), text),
      how: fc.constantFrom('without', 'never'),
      byIndex: fc.constant(true),
      huffmanName: fc.constant(true),
      huffmanValue: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(fc.array(written, { maxLength: 4 }), { maxLength: 30 }), (blocks) => {
        const decoder = new HpackDecoder(4096)
        for (const list of blocks) {
          const expected = list.flatMap((one) => (one.kind === 'field' ? [one.field] : []))
          expect(decode(decoder, new SlowHpack(4096).encode(list))).toEqual(expected)
        }
      }),
    )
  })

  it('the same bytes, once Huffman coded and once not, are two values', () => {
    const coded = bytesOf(slowHuffman(credentials))
    const [huffman, raw] = [0x80, 0].map((flag) =>
      Buffer.concat([Buffer.from([0x10, 0x01, 0x61, flag | coded.length]), coded]),
    ) as [Buffer, Buffer]
    const decoder = new HpackDecoder(4096)
    for (const [bytes, expected] of [
      [huffman, credentials],
      [raw, coded.toString('latin1')],
      [huffman, credentials],
      [raw, coded.toString('latin1')],
    ] as const) {
      expect(decode(decoder, bytes)).toEqual([['a', expected]])
    }
  })

  it('a value is remembered by its bytes, not by the buffer that they came in', () => {
    const decoder = new HpackDecoder(4096)
    const bytes = literal(credentials)
    expect(decode(decoder, bytes)).toEqual([['proxy-authorization', credentials]])
    const others = literal(credentials.toUpperCase())
    bytes.fill(0)
    expect(decode(decoder, others)).toEqual([['proxy-authorization', credentials.toUpperCase()]])
    expect(decode(decoder, literal(credentials))).toEqual([['proxy-authorization', credentials]])
  })

  it('a malformed value is not remembered', () => {
    const decoder = new HpackDecoder(4096)
    const coded = Buffer.concat([bytesOf(slowHuffman(credentials)), Buffer.from([0xff])])
    const wrong = Buffer.concat([Buffer.from([0x10, 0x01, 0x61, 0x80 | coded.length]), coded])
    for (const _ of [1, 2]) expect(() => decode(decoder, wrong)).toThrow('bad huffman')
  })
})
