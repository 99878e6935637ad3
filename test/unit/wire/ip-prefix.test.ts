import { describe, expect, it } from 'vitest'
import { ipBytes } from '../../../src/wire/ip-address.ts'
import { parseIpPrefix, prefixHolds } from '../../../src/wire/ip-prefix.ts'

function inside(prefix: string, address: string): boolean | undefined {
  const parsed = parseIpPrefix(prefix)
  return parsed && prefixHolds(parsed, ipBytes(address) ?? new Uint8Array())
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
  ])('whether the range %s holds %s: %s', (prefix, address, expected) => {
    expect(inside(prefix, address)).toBe(expected)
  })

  it.each(['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/08', '10.0.0.0/-1', '::/129', 'example.com/8', '10/8', ''])(
    'the text %j is no range',
    (text) => {
      expect(parseIpPrefix(text)).toBeUndefined()
    },
  )

  it('a range is plain data without the bits that do not count, so that equal ranges are equal', () => {
    expect(parseIpPrefix('10.1.2.3/8')).toEqual({ bytes: Uint8Array.of(10, 0, 0, 0), bits: 8 })
    expect(parseIpPrefix('192.0.2.255/25')).toEqual({ bytes: Uint8Array.of(192, 0, 2, 128), bits: 25 })
    expect(parseIpPrefix('::ffff:10.1.2.3/104')).toEqual(parseIpPrefix('10.0.0.0/8'))
    const prefix = parseIpPrefix('2001:db8::1/33')
    expect(structuredClone(prefix)).toEqual(prefix)
    expect(prefix).toEqual(parseIpPrefix('2001:db8::/33'))
  })
})
