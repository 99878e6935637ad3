import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AddressPolicy, type AddressPolicyOptions } from '../../../src/egress/address-policy.ts'
import type { RefusalCode } from '../../../src/errors.ts'
import { formatIpv4, formatIpv6, ipBytes } from '../../../src/wire/ip-address.ts'
import { socketAddress } from '../../support/rules.ts'

/** A machine without addresses. */
const NOTHING = { has: () => false }
const strict = new AddressPolicy({ allowPrivate: false, ipv6: true, exemptions: [] }, NOTHING)
const open = new AddressPolicy({ allowPrivate: true, ipv6: true, exemptions: [] }, NOTHING)

/** First and last address of every range that is not global, with both neighbours' verdicts where they differ. */
const RANGES: readonly [string, string, RefusalCode][] = [
  ['0.0.0.0', '0.255.255.255', 'target_private'],
  ['10.0.0.0', '10.255.255.255', 'target_private'],
  ['100.64.0.0', '100.127.255.255', 'target_private'],
  ['127.0.0.0', '127.255.255.255', 'target_loopback'],
  ['169.254.0.0', '169.254.255.255', 'target_private'],
  ['172.16.0.0', '172.31.255.255', 'target_private'],
  ['192.0.0.0', '192.0.0.8', 'target_private'],
  ['192.0.0.11', '192.0.0.255', 'target_private'],
  ['192.0.2.0', '192.0.2.255', 'target_private'],
  ['192.168.0.0', '192.168.255.255', 'target_private'],
  ['198.18.0.0', '198.19.255.255', 'target_private'],
  ['198.51.100.0', '198.51.100.255', 'target_private'],
  ['203.0.113.0', '203.0.113.255', 'target_private'],
  ['224.0.0.0', '255.255.255.255', 'target_private'],
  ['64:ff9b:1::', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff', 'target_private'],
  ['100::', '100::1:ffff:ffff:ffff:ffff', 'target_private'],
  ['2001:2::', '2001:2:0:ffff:ffff:ffff:ffff:ffff', 'target_private'],
  ['2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', 'target_private'],
  ['3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff', 'target_private'],
  ['5f00::', '5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'target_private'],
  ['fc00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'target_private'],
  ['fe80::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'target_private'],
  ['::ffff:0:0:0', '::ffff:0:ffff:ffff', 'target_private'],
  ['::1', '::1', 'target_loopback'],
  ['::', '::', 'target_private'],
]

function step(address: string, by: 1n | -1n): string {
  const bytes = ipBytes(address) ?? new Uint8Array()
  const value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`) + by
  const result = Buffer.from(value.toString(16).padStart(bytes.length * 2, '0'), 'hex')
  return bytes.length === 4 ? formatIpv4(result) : formatIpv6(result)
}

describe('the table of special ranges', () => {
  it.each(RANGES)('the range from %s to %s is %s', (first, last, code) => {
    expect(strict.refusal(first, 443)).toBe(code)
    expect(strict.refusal(last, 443)).toBe(code)
  })

  it.each([
    ['0.255.255.255', 1n],
    ['10.0.0.0', -1n],
    ['10.255.255.255', 1n],
    ['100.64.0.0', -1n],
    ['100.127.255.255', 1n],
    ['127.0.0.0', -1n],
    ['127.255.255.255', 1n],
    ['169.254.0.0', -1n],
    ['169.254.255.255', 1n],
    ['172.16.0.0', -1n],
    ['172.31.255.255', 1n],
    ['192.0.0.0', -1n],
    ['192.0.0.8', 1n],
    ['192.0.0.11', -1n],
    ['192.0.0.255', 1n],
    ['192.0.2.0', -1n],
    ['192.0.2.255', 1n],
    ['192.168.0.0', -1n],
    ['192.168.255.255', 1n],
    ['198.18.0.0', -1n],
    ['198.19.255.255', 1n],
    ['198.51.100.0', -1n],
    ['198.51.100.255', 1n],
    ['203.0.113.0', -1n],
    ['203.0.113.255', 1n],
    ['224.0.0.0', -1n],
    ['64:ff9b:1::', -1n],
    ['64:ff9b:1:ffff:ffff:ffff:ffff:ffff', 1n],
    ['100::', -1n],
    ['100::1:ffff:ffff:ffff:ffff', 1n],
    ['2001:2::', -1n],
    ['2001:2:0:ffff:ffff:ffff:ffff:ffff', 1n],
    ['2001:db8::', -1n],
    ['2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', 1n],
    ['3fff::', -1n],
    ['3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff', 1n],
    ['5f00::', -1n],
    ['5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 1n],
    ['fc00::', -1n],
    ['fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 1n],
    ['fe80::', -1n],
  ] as const)('the neighbour of %s (%s) is global', (edge, by) => {
    expect(strict.refusal(step(edge, by), 443)).toBeUndefined()
  })

  it.each([
    '2001:4860:4860::8888',
    '2606:4700:4700::1111',
    '2a00:1450:4001:800::200e',
    '2001:20::1',
    '1.1.1.1',
    '192.0.0.9',
    '192.0.0.10',
    '192.88.99.1',
    '::ffff:8.8.8.8',
    '::8.8.8.8',
    '64:ff9b::8.8.8.8',
    '2002:808:808::1',
    '2001:0:4136:e378:8000:63bf:f7f7:f7f7',
  ])('the address %s is global', (address) => expect(strict.refusal(address, 443)).toBeUndefined())

  it('the address policy judges IPv4 inside IPv6 as IPv4, for every address', () => {
    const anyIpv4 = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.constantFrom(...RANGES.slice(0, 14).flatMap(([a, b]) => [ipBytes(a)!, ipBytes(b)!])),
    )
    fc.assert(
      fc.property(anyIpv4, (bytes) => {
        const text = formatIpv4(bytes)
        const hex = Buffer.from(bytes).toString('hex')
        const teredo = Buffer.from(bytes.map((byte) => byte ^ 0xff)).toString('hex')
        const expected = strict.refusal(text, 1)
        const groups = (digits: string): string => `${digits.slice(0, 4)}:${digits.slice(4)}`
        for (const form of [
          `::ffff:${text}`,
          `64:ff9b::${text}`,
          `2002:${groups(hex)}::1`,
          `2001::${groups(teredo)}`,
        ]) {
          expect(strict.refusal(form, 1), form).toBe(expected)
        }
        // `::` and `::1` are themselves.
        if (!hex.startsWith('000000')) expect(strict.refusal(`::${text}`, 1)).toBe(expected)
      }),
    )
  })

  it('the address policy refuses what is no address', () => {
    expect(strict.refusal('127.1', 1)).toBe('target_refused')
    expect(strict.refusal('::1%lo', 1)).toBe('target_refused')
  })
})

describe('options', () => {
  it('the address policy opens everything but multicast and broadcast', () => {
    for (const [first, last] of RANGES) {
      if (first === '224.0.0.0' || first === 'fe80::') continue
      expect(open.refusal(first, 1)).toBeUndefined()
      expect(open.refusal(last, 1)).toBeUndefined()
    }
    for (const address of ['240.0.0.1', '255.255.255.254', 'fe80::1', 'fec0::1']) {
      expect(open.refusal(address, 1)).toBeUndefined()
    }
    for (const address of [
      '224.0.0.0',
      '239.255.255.255',
      '255.255.255.255',
      'ff00::',
      'ff0e::1',
      '::ffff:224.0.0.1',
      '64:ff9b::255.255.255.255',
      '2002:e000:1::',
    ]) {
      expect(open.refusal(address, 1)).toBe('target_private')
    }
  })

  it('the address policy refuses IPv6 without IPv6, but not IPv4 written as IPv6', () => {
    const policy = new AddressPolicy({ allowPrivate: false, ipv6: false, exemptions: [] }, NOTHING)
    expect(policy.refusal('2001:4860:4860::8888', 1)).toBe('target_unreachable')
    expect(policy.refusal('64:ff9b::8.8.8.8', 1)).toBe('target_unreachable')
    expect(policy.refusal('::1', 1)).toBe('target_loopback')
    expect(policy.refusal('::ffff:8.8.8.8', 1)).toBeUndefined()
    expect(policy.refusal('8.8.8.8', 1)).toBeUndefined()
  })

  it('the address policy exempts exactly the address and port that are listed', () => {
    const exemptions = ['127.0.0.1:8080', '[FD00:0:0::1]:80', '[::ffff:10.0.0.1]:80'].map(socketAddress)
    const policy = new AddressPolicy({ allowPrivate: false, ipv6: true, exemptions }, NOTHING)
    expect(policy.refusal('127.0.0.1', 8080)).toBeUndefined()
    expect(policy.refusal('::ffff:127.0.0.1', 8080)).toBeUndefined()
    expect(policy.refusal('fd00::1', 80)).toBeUndefined()
    expect(policy.refusal('10.0.0.1', 80)).toBeUndefined()
    expect(policy.refusal('127.0.0.1', 8081)).toBe('target_loopback')
    expect(policy.refusal('127.0.0.2', 8080)).toBe('target_loopback')
    expect(policy.refusal('fd00::2', 80)).toBe('target_private')
  })
})

/**
 * Services behind the host's own firewall used to be open to every client, because its connection comes from inside.
 */
describe("the machine's own addresses", () => {
  const own = new Set(['9.9.9.1', '2620:fe::1'])
  const policy = (options: Partial<AddressPolicyOptions> = {}) =>
    new AddressPolicy({ allowPrivate: false, ipv6: true, exemptions: [], ...options }, own)

  it.each(['9.9.9.1', '::ffff:9.9.9.1', '64:ff9b::909:901', '2002:909:901::1', '2620:fe::1', '2620:FE:0::1'])(
    "the machine's own addresses are private: %s",
    (address) => {
      expect(policy().refusal(address, 443)).toBe('target_private')
      expect(policy().refusal(address, 0)).toBe('target_private')
      expect(policy({ allowPrivate: true }).refusal(address, 443)).toBeUndefined()
    },
  )

  it("the machine's own addresses are opened one by one, port 0 for echo requests", () => {
    const exemptions = ['9.9.9.1:443', '[2620:fe::1]:0'].map(socketAddress)
    expect(policy({ exemptions }).refusal('9.9.9.1', 443)).toBeUndefined()
    expect(policy({ exemptions }).refusal('9.9.9.1', 0)).toBe('target_private')
    expect(policy({ exemptions }).refusal('2620:fe::1', 0)).toBeUndefined()
    expect(policy({ exemptions }).refusal('2620:fe::1', 443)).toBe('target_private')
  })

  it("the machine's own addresses are no reason to close their neighbours", () => {
    expect(policy().refusal('9.9.9.2', 443)).toBeUndefined()
  })
})
