import * as fc from 'fast-check'
import { isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import {
  decodePaddedAddress,
  embeddedIpv4,
  encodePaddedAddress,
  formatIpv6,
  ipBytes,
  normalizePeerAddress,
  parseIpAddress,
} from '../../../src/wire/ip-address.ts'
import { parseIpPrefix } from '../../../src/wire/ip-prefix.ts'
import { slowPadded, slowUnpadded } from './slow-codec.ts'

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
  ])('%s is %s', (text, canonical) => {
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
  ])('%j is no address (%s)', (text) => {
    expect(parseIpAddress(text)).toBeUndefined()
  })

  it('accepts nothing that the platform refuses, and refuses nothing but zones', () => {
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

  it('writes IPv6 as the URL standard does, and reads it back', () => {
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

describe('padded form', () => {
  it('agrees with the second codec both ways', () => {
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
  ])('%s is %s', (hex, address, family) => {
    expect(decodePaddedAddress(Buffer.from(hex, 'hex'))).toEqual({ address, family })
  })

  it('refuses to encode what is no address', () => {
    expect(() => encodePaddedAddress('example.com', Buffer.alloc(16))).toThrow('not an IP address')
  })
})

describe('IPv4 inside IPv6', () => {
  it.each([
    ['::ffff:127.0.0.1', '127.0.0.1'],
    ['::127.0.0.1', '127.0.0.1'],
    ['64:ff9b::10.0.0.1', '10.0.0.1'],
    ['2002:a00:1::', '10.0.0.1'],
    ['2002:7f00:1:ffff::9', '127.0.0.1'],
    ['::', undefined],
    ['::1', undefined],
    ['::2', '0.0.0.2'],
    ['64:ff9b:1::10.0.0.1', undefined],
    ['2001:db8::1', undefined],
    ['10.0.0.1', undefined],
    ['nonsense', undefined],
  ])('%s carries %s', (address, embedded) => {
    expect(embeddedIpv4(address)).toBe(embedded)
  })

  it.each([
    ['::ffff:198.51.100.7', { address: '198.51.100.7', family: 4 }],
    ['fe80::1%eth0', { address: 'fe80::1', family: 6 }],
    ['203.0.113.1', { address: '203.0.113.1', family: 4 }],
    ['2001:db8::ffff:0:1', { address: '2001:db8::ffff:0:1', family: 6 }],
  ])('the peer %s is known as %o', (text, expected) => {
    expect(normalizePeerAddress(text)).toEqual(expected)
  })
})

function inside(prefix: string, address: string): boolean | undefined {
  return parseIpPrefix(prefix)?.contains(ipBytes(address) ?? new Uint8Array())
}

describe('ranges', () => {
  it.each([
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.1.2.3/8', '10.9.9.9', true],
    ['192.0.2.128/25', '192.0.2.127', false],
    ['192.0.2.128/25', '192.0.2.128', true],
    ['0.0.0.0/0', '255.255.255.255', true],
    ['0.0.0.0/0', '::', false],
    ['::/0', '2001:db8::1', true],
    ['2001:db8::/33', '2001:db8:8000::', false],
    ['2001:db8::/33', '2001:db8:7fff::', true],
    ['192.0.2.1', '192.0.2.1', true],
    ['192.0.2.1', '192.0.2.2', false],
    ['::ffff:10.0.0.0/104', '10.2.3.4', true],
    ['::ffff:0:0/95', '10.2.3.4', false],
  ])('%s holds %s: %s', (prefix, address, expected) => {
    expect(inside(prefix, address)).toBe(expected)
  })

  it.each(['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/08', '10.0.0.0/-1', '::/129', 'example.com/8', '10/8', ''])(
    '%j is no range',
    (text) => {
      expect(parseIpPrefix(text)).toBeUndefined()
    },
  )
})
