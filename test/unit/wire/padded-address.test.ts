import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodePaddedAddress, encodePaddedAddress } from '../../../src/wire/padded-address.ts'
import { slowPadded, slowUnpadded } from './slow-codec.ts'

const bytes16 = fc.oneof(
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  // Mostly zeros, to meet every shape of `::`.
  fc
    .array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 })
    .map((all) => Uint8Array.from(all)),
)

describe('padded form', () => {
  it('the padded form agrees with the second codec both ways', () => {
    fc.assert(
      fc.property(bytes16, (bytes) => {
        const hex = Buffer.from(bytes).toString('hex')
        const decoded = decodePaddedAddress(bytes)
        expect(decoded).toEqual(slowUnpadded(hex))
        const target = Buffer.alloc(20, 0xee)
        encodePaddedAddress(decoded.address, target, 2)
        expect(target.toString('hex')).toBe(`eeee${hex}eeee`)
        expect(slowPadded(decoded.address)).toBe(hex)
      }),
      { numRuns: 1000 },
    )
  })

  it.each([
    ['00000000000000000000000000000000', '0.0.0.0', 4],
    ['00000000000000000000000000000001', '::1', 6],
    ['00000000000000000000000000000002', '0.0.0.2', 4],
    ['00000000000000000000000001000001', '1.0.0.1', 4],
    ['00000000000000000000ffffc0000201', '::ffff:192.0.2.1', 6],
  ])('the padded form of %s is %s', (hex, address, family) => {
    expect(decodePaddedAddress(Buffer.from(hex, 'hex'))).toEqual({ address, family })
  })

  it('the padded form refuses to encode what is no address', () => {
    expect(() => encodePaddedAddress('example.com', Buffer.alloc(16))).toThrow('not an IP address')
  })
})
