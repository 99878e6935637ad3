import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { EndpointError } from '../../../src/errors.ts'
import { Cursor } from '../../../src/wire/cursor.ts'
import { encodeVarint, MAX_VARINT, readVarint } from '../../../src/wire/varint.ts'
import vectors from '../../vectors/wire.json' with { type: 'json' }

it('the cursor reads big-endian and says where it stands', () => {
  const cursor = new Cursor(Buffer.from('ff01020304050607ffffffff0809', 'hex'), 1)
  expect([cursor.u8(), cursor.u16(), cursor.u32()]).toEqual([1, 0x0203, 0x04050607])
  expect(cursor.u32()).toBe(0xffffffff)
  expect([cursor.offset, cursor.remaining]).toEqual([12, 2])
  expect(cursor.slice(1).u8()).toBe(8)
  expect([...cursor.bytes(1)]).toEqual([9])
  expect(cursor.remaining).toBe(0)
})

it('the cursor fails with too_short only, and not beyond its end', () => {
  const cursor = new Cursor(Buffer.alloc(10), 2, 5)
  const tooShort = expect.objectContaining({ code: 'too_short' }) as EndpointError
  expect(() => cursor.u32()).toThrow(tooShort)
  expect(cursor.u24()).toBe(0)
  expect(() => cursor.u8()).toThrow(tooShort)
  expect(() => cursor.slice(1)).toThrow(tooShort)
  cursor.skip(0)
})

it('the cursor knows the variable-length integers of RFC 9000', () => {
  for (const { value, hex } of vectors.quic_varint) {
    // JSON rounds the largest one; its bytes are those of appendix A.1.
    const exact = Number.isSafeInteger(value) ? BigInt(value) : 151_288_809_941_952_652n
    expect(encodeVarint(exact).toString('hex')).toBe(hex)
    expect(readVarint(new Cursor(Buffer.from(hex, 'hex')))).toBe(exact)
  }
  expect(readVarint(new Cursor(Buffer.from('4025', 'hex')))).toBe(37n)
  expect(() => encodeVarint(MAX_VARINT + 1n)).toThrow(EndpointError)
  expect(() => encodeVarint(-1)).toThrow(EndpointError)
})

it('the cursor writes integers that read back, in the shortest form', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: MAX_VARINT }), fc.nat(62), (large, shift) => {
      const value = large >> BigInt(shift)
      const encoded = encodeVarint(value)
      const cursor = new Cursor(encoded)
      expect(readVarint(cursor)).toBe(value)
      expect(cursor.remaining).toBe(0)
      const bits = value.toString(2).length
      expect(encoded.length).toBe(bits <= 6 ? 1 : bits <= 14 ? 2 : bits <= 30 ? 4 : 8)
      expect(() => readVarint(new Cursor(encoded.subarray(0, -1)))).toThrow(EndpointError)
    }),
  )
})
