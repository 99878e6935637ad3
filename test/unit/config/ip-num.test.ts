/**
 * What `docs/decisions/006-ip-num.md` says about the library: it computes ranges correctly, but its own parsing of text
 * is unfit for files that decide who may connect. When a release changes one of those faults, this test tells.
 */
import * as fc from 'fast-check'
import { IPv4CidrRange, IPv6, IPv6CidrRange } from 'ip-num'
import { describe, expect, it } from 'vitest'
import { loadRanges } from '../../../src/config/rule-coverage.ts'
import { parseIpPrefix, prefixHolds } from '../../../src/wire/ip-prefix.ts'
import { ipPrefix } from '../../support/rules.ts'

describe('ip-num', () => {
  it('ip-num computes the first and last address of a range, as our bytes see it', async () => {
    const rangeOf = await loadRanges()
    const prefixes = fc
      .tuple(fc.constantFrom(4, 16), fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(128))
      .map(([length, bytes, bits]) => ({ bytes: bytes.slice(0, length), bits: bits % (length * 8 + 1) }))
    const bytesOf = (value: bigint, length: number): Uint8Array =>
      Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex')
    fc.assert(
      fc.property(prefixes, (prefix) => {
        const { first, last } = rangeOf(prefix)
        const width = prefix.bytes.length
        expect(last - first + 1n).toBe(1n << BigInt(width * 8 - prefix.bits))
        expect(prefixHolds(prefix, bytesOf(first, width))).toBe(true)
        expect(prefixHolds(prefix, bytesOf(last, width))).toBe(true)
        if (first > 0n) expect(prefixHolds(prefix, bytesOf(first - 1n, width))).toBe(false)
        if (last < (1n << BigInt(width * 8)) - 1n)
          expect(prefixHolds(prefix, bytesOf(last + 1n, width))).toBe(false)
      }),
    )
  })

  it('ip-num reads a prefix length with a leading zero, in IPv4 only', () => {
    expect(IPv4CidrRange.fromCidr('10.0.0.0/08').toCidrString()).toBe('10.0.0.0/8')
    expect(() => IPv6CidrRange.fromCidr('2001:db8::/032')).toThrow()
    expect(parseIpPrefix('10.0.0.0/08')).toBeUndefined()
  })

  it('ip-num refuses a dotted tail in a range, which it reads in an address', () => {
    expect(() => IPv6CidrRange.fromCidr('64:ff9b::192.0.2.0/120')).toThrow()
    expect(new IPv6('64:ff9b::192.0.2.0').getValue()).toBe(new IPv6('64:ff9b::c000:200').getValue())
    expect(parseIpPrefix('64:ff9b::192.0.2.0/120')).toEqual(ipPrefix('64:ff9b::c000:200/120'))
  })

  it('ip-num reads a zone and forgets it', () => {
    expect(IPv6CidrRange.fromCidr('fe80::1%eth0/64').getLast().toString()).toBe(
      'fe80:0:0:0:ffff:ffff:ffff:ffff',
    )
    expect(parseIpPrefix('fe80::1%eth0/64')).toBeUndefined()
  })

  it('ip-num does not take IPv4-mapped ranges for the IPv4 ranges that they are', () => {
    expect(IPv6CidrRange.fromCidr('::ffff:a00:0/104').getFirst().getValue()).toBe(0xffff_0a00_0000n)
    expect(parseIpPrefix('::ffff:a00:0/104')).toEqual(ipPrefix('10.0.0.0/8'))
  })

  it('ip-num compares addresses of both families as numbers where no type forbids it', () => {
    const ipv4: unknown = IPv4CidrRange.fromCidr('10.0.0.0/8')
    expect(IPv6CidrRange.fromCidr('::/96').contains(ipv4 as IPv6CidrRange)).toBe(true)
    expect(prefixHolds(ipPrefix('::/96'), Uint8Array.of(10, 0, 0, 1))).toBe(false)
  })
})
