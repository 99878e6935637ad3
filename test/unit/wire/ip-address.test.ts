import * as fc from 'fast-check'
import { isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import { formatIpv6, ipBytes, parseIpAddress } from '../../../src/wire/ip-address.ts'
import { slowUnpadded } from './slow-codec.ts'

const HEX_AND_SEPARATORS = ['0', '1', '2', '7', '9', 'a', 'f', ':', ':', '.']

const bytes16 = fc.oneof(
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  // Mostly zeros, to meet every shape of `::`.
  fc
    .array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 })
    .map((all) => Uint8Array.from(all)),
)

describe('text', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::FFFF:c000:0201', '::ffff:192.0.2.1'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ])('the address %s is %s', (text, canonical) => {
    expect(parseIpAddress(text)?.address).toBe(canonical)
  })

  it.each([
    ['', 'empty'],
    ['1.2.3', 'three octets'],
    ['1.2.3.4.5', 'five octets'],
    ['1.2.3.256', 'octet too large'],
    ['01.2.3.4', 'octal'],
    ['1.2.3.00', 'octal zero'],
    ['0x7f.0.0.1', 'hexadecimal'],
    ['1.2.3.4 ', 'space'],
    ['1..3.4', 'empty octet'],
    ['+1.2.3.4', 'sign'],
    ['fe80::1%eth0', 'zone'],
    ['[::1]', 'brackets'],
    [':::', 'three colons'],
    ['1::2::3', 'two gaps'],
    ['1:2:3:4:5:6:7', 'seven groups'],
    ['1:2:3:4:5:6:7:8:9', 'nine groups'],
    ['1:2:3:4:5:6:7:8::', 'gap of nothing'],
    ['12345::', 'group too long'],
    ['g::', 'no hex'],
    ['::1.2.3', 'short tail'],
    ['1.2.3.4::', 'dotted head'],
    ['::1.2.3.4:5', 'dotted middle'],
    [':1:2:3:4:5:6:7:8', 'leading colon'],
  ])('the text %j is no address (%s)', (text) => {
    expect(parseIpAddress(text)).toBeUndefined()
  })

  it('the parser of addresses accepts nothing that the platform refuses, and refuses nothing but zones', () => {
    const text = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.string({ unit: fc.constantFrom(...HEX_AND_SEPARATORS), maxLength: 40 }),
      fc
        .ipV6()
        .chain((valid) => fc.nat(valid.length).map((at) => `${valid.slice(0, at)}:${valid.slice(at + 1)}`)),
    )
    fc.assert(
      fc.property(text, (candidate) => {
        expect(parseIpAddress(candidate)?.family ?? 0).toBe(isIP(candidate))
      }),
      { numRuns: 2000 },
    )
  })

  it('IPv6 is written as the URL standard does, and reads back', () => {
    fc.assert(
      fc.property(bytes16, (bytes) => {
        const text = formatIpv6(bytes)
        expect(ipBytes(text)).toEqual(Uint8Array.from(bytes))
        const hex = Buffer.from(bytes).toString('hex')
        if (!hex.startsWith('0'.repeat(20))) expect(text).toBe(slowUnpadded(hex).address)
      }),
      { numRuns: 2000 },
    )
  })
})
