import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HpackDecoder } from '../../../../src/wire/http2/hpack-decoder.ts'
import { encodeHead, encodeFields } from '../../../../src/wire/http2/hpack-encoder.ts'
import type { EncodedFields } from '../../../../src/wire/http2/hpack-encoder.ts'
import { SlowHpack } from './slow-hpack.ts'
import type { Field } from './slow-hpack.ts'

const DATE = 'Sat, 21 Nov 2026 19:40:00 GMT'

function decode(decoder: HpackDecoder, block: Buffer): Field[] {
  const fields: Field[] = []
  decoder.decode(block, { onField: (name, value) => void fields.push([name, value]) })
  return fields
}

function headHex(status: number, ...fields: EncodedFields): string {
  return encodeHead(status, fields).toString('hex')
}

const latin1 = fc.uint8Array({ maxLength: 150 }).map((bytes) => Buffer.from(bytes).toString('latin1'))
const name = fc.oneof(
  fc.constantFrom('server', 'date', 'content-type', 'content-length', 'last-modified', 'location', 'vary'),
  fc.constantFrom('etag', 'set-cookie', 'x-padding'),
  latin1,
)
const fields = fc.array(fc.tuple(name, fc.oneof(latin1, fc.array(latin1, { maxLength: 3 }))), {
  maxLength: 12,
})
const options = fc.record({ tableUpdate: fc.boolean(), fromOrigin: fc.boolean() })

/** Each value of a list on its own. */
function flat(list: EncodedFields): Field[] {
  return list.flatMap(([key, value]) =>
    typeof value === 'string' ? [[key, value] as const] : value.map((single) => [key, single] as const),
  )
}

describe('encoding heads', () => {
  it('a bare 200 is one byte, and always the same buffer', () => {
    expect(headHex(200)).toBe('88')
    expect(encodeHead(200, [])).toBe(encodeHead(200, []))
  })

  it('a status that the static table has is one byte, any other five', () => {
    const indexed = { 200: '88', 204: '89', 206: '8a', 304: '8b', 400: '8c', 404: '8d', 500: '8e' }
    for (const [status, hex] of Object.entries(indexed)) expect(headHex(Number(status))).toBe(hex)
    expect(headHex(407)).toBe('4803343037')
    expect(headHex(100)).toBe('4803313030')
  })

  it('a change of the table size comes first, also before a bare 200', () => {
    expect(encodeHead(200, [], { tableUpdate: true }).toString('hex')).toBe('2088')
    expect(encodeFields([['a', 'b']], { tableUpdate: true }).toString('hex')).toBe('200001610162')
  })

  it('the fields that nginx writes itself have an index, and its order', () => {
    expect(
      headHex(
        200,
        ['location', '/'],
        ['content-length', '1234567'],
        ['server', 'nginx'],
        ['content-type', 'text/html'],
        ['last-modified', DATE],
        ['date', DATE],
      ),
    ).toBe(
      [
        '88',
        '7684aa6355e7',
        '6196dc34fd2820a9a4fdd41004e2817ee340b800298b46ff',
        '5f87497ca589d34d1f',
        '5c0731323334353637',
        '6c96dc34fd2820a9a4fdd41004e2817ee340b800298b46ff',
        '6e012f',
      ].join(''),
    )
  })

  it('all other fields are literals with their names, behind those', () => {
    const encoded = encodeHead(404, [
      ['vary', 'accept-encoding'],
      ['server', 'nginx'],
      ['set-cookie', ['a', 'b']],
    ])
    const setCookie = '00874152b10e7ea62f'
    const vary = '0004766172798b19085ad2b16a21e435537f'
    expect(encoded.toString('hex')).toBe(
      ['8d', '7684aa6355e7', vary, `${setCookie}0161`, `${setCookie}0162`].join(''),
    )
  })

  it("an origin's last-modified is a field like any other", () => {
    const list = [
      ['last-modified', DATE],
      ['server', 'nginx'],
    ] as const
    const [own, relayed] = [false, true].map((fromOrigin) => encodeHead(200, list, { fromOrigin }))
    expect(own?.toString('hex', 0, 8)).toBe('887684aa6355e76c')
    expect(relayed?.toString('hex', 0, 8)).toBe('887684aa6355e700')
  })

  it('strings that Huffman coding does not make shorter stay as they are', () => {
    expect(encodeFields([['', '']]).toString('hex')).toBe('000000')
    expect(encodeFields([['a', '::']]).toString('hex')).toBe('000161023a3a')
    expect(encodeFields([['aa', '()']]).toString('hex')).toBe('00026161022829')
    expect(encodeFields([['aaa', '']]).toString('hex')).toBe('008218c700')
  })

  it('a second field of one name, or one with a list of values, is a literal', () => {
    const encoded = encodeHead(200, [
      ['server', 'a'],
      ['server', 'b'],
      ['location', ['c']],
    ])
    expect(decode(new HpackDecoder(4096), encoded)).toEqual([
      [':status', '200'],
      ['server', 'a'],
      ['server', 'b'],
      ['location', 'c'],
    ])
  })

  it('whatever fields there are, a slow decoder and ours read them back', () => {
    const head = fc.record({ status: fc.integer({ min: 100, max: 599 }), fields, options })
    fc.assert(
      fc.property(fc.array(head, { maxLength: 6 }), (heads) => {
        const [decoder, oracle] = [new HpackDecoder(4096), new SlowHpack(4096)]
        for (const { status, fields: list, options: chosen } of heads) {
          const block = encodeHead(status, list, chosen)
          const found = oracle.decode(block) ?? []
          expect(decode(decoder, block)).toEqual(found)
          expect(found[0]).toEqual([':status', String(status)])
          const sorted = (all: Field[]): string[] => all.map((field) => JSON.stringify(field)).toSorted()
          expect(sorted(found.slice(1))).toEqual(sorted(flat(list)))
          // Fields of one name keep their order.
          for (const key of ['x-padding', 'set-cookie', 'etag', 'vary']) {
            const valuesOf = (all: Field[]): string[] =>
              all.filter(([each]) => each === key).map(([, value]) => value)
            expect(valuesOf(found)).toEqual(valuesOf(flat(list)))
          }
        }
      }),
    )
  })

  it('a block depends on no other: one that follows is read without it', () => {
    fc.assert(
      fc.property(fields, fields, options, (first, second, chosen) => {
        encodeHead(503, first)
        const block = encodeHead(503, second, chosen)
        expect(decode(new HpackDecoder(0), block)).toEqual(decode(new HpackDecoder(4096), block))
      }),
    )
  })

  it('trailers come in their order and with their names', () => {
    fc.assert(
      fc.property(fields, (list) => {
        expect(new SlowHpack(0).decode(encodeFields(list))).toEqual(flat(list))
      }),
    )
  })

  it('heads of any size are written, and none shares its bytes with the next', () => {
    const decoder = new HpackDecoder(4096)
    const lengths = [126, 127, 128, 253, 254, 255, 16_384, 40_000, 2 ** 21]
    const long = lengths.map((length): [string, string] => ['x-long', '\0'.repeat(length)])
    const block = encodeHead(200, long)
    const small = encodeHead(200, [['x-a', '1']])
    encodeHead(200, [['x-b', '2']])
    expect(decode(decoder, small)).toEqual([
      [':status', '200'],
      ['x-a', '1'],
    ])
    expect(decode(decoder, block).slice(1)).toEqual(long)
  })

  it('what cannot be written throws, and does not spoil the next head', () => {
    for (const list of [[['x-a', 'ā']], [['ā', '']], [['content-length', 'ā']], [['server', 'ā']]] as const) {
      expect(() => encodeHead(200, list)).toThrow(expect.objectContaining({ code: 'malformed' }))
    }
    const tooLong = [['x-a', 'a'.repeat(2 ** 21 + 127)]] as const
    expect(() => encodeHead(200, tooLong)).toThrow(expect.objectContaining({ code: 'too_long' }))
    expect(headHex(404, ['x-a', '1'])).toBe('8d0003782d610131')
  })
})
