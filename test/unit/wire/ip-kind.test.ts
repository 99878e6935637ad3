import * as fc from 'fast-check'
import { BlockList, isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import { formatIp, formatIpv6, ipBytes } from '../../../src/wire/ip-address.ts'
import {
  customerOf,
  embeddedIpv4,
  isLoopback,
  isUnspecified,
  normalizePeerAddress,
  teredoClient,
} from '../../../src/wire/ip-kind.ts'

const addresses = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.constantFrom('::1', '::', '::ffff:127.9.9.9', '127.0.0.1'),
)

function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : formatIp(bytes)
}

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
  ])('the IPv6 address %s carries %s', (address, embedded) => {
    expect(textOf(embeddedIpv4(ipBytes(address) ?? new Uint8Array()))).toBe(embedded)
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

describe('Teredo', () => {
  it('Teredo names the client that packets would go to', () => {
    const bytes = ipBytes('2001:0:4136:e378:8000:63bf:3fff:fdd2') ?? new Uint8Array()
    expect(textOf(teredoClient(bytes))).toBe('192.0.2.45')
    expect(teredoClient(ipBytes('2001:db8::1') ?? bytes)).toBeUndefined()
  })
})

describe('loopback and no address', () => {
  it('loopback is what the platform says it is', () => {
    const platform = new BlockList()
    platform.addSubnet('127.0.0.0', 8, 'ipv4')
    platform.addAddress('::1', 'ipv6')
    fc.assert(
      fc.property(addresses, (text) => {
        expect(isLoopback(text)).toBe(platform.check(text, isIP(text) === 6 ? 'ipv6' : 'ipv4'))
      }),
    )
  })

  it.each([
    ['0.0.0.0', true],
    ['::', true],
    ['::ffff:0.0.0.0', true],
    ['0.0.0.1', false],
    ['::1', false],
    ['nonsense', false],
  ])('whether the address %s is unspecified: %s', (text, expected) => {
    expect(isUnspecified(text)).toBe(expected)
    expect(isLoopback('nonsense')).toBe(false)
  })
})

describe('a customer', () => {
  it('a customer is an IPv4 address, mapped or not', () => {
    expect(customerOf('192.0.2.1')).toBe('192.0.2.1')
    expect(customerOf('::ffff:192.0.2.1')).toBe('192.0.2.1')
    expect(customerOf('192.0.2.1')).not.toBe(customerOf('192.0.2.2'))
  })

  it('a customer is a /64 of IPv6, however the address is written', () => {
    const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 }).filter((bytes) => bytes[0] !== 0)
    fc.assert(
      fc.property(bytes16, fc.uint8Array({ minLength: 8, maxLength: 8 }), (bytes, host) => {
        const neighbour = Uint8Array.of(...bytes.subarray(0, 8), ...host)
        const other = Uint8Array.from(bytes, (byte, index) => (index === 7 ? byte ^ 1 : byte))
        expect(customerOf(formatIpv6(neighbour))).toBe(customerOf(formatIpv6(bytes)))
        expect(customerOf(formatIpv6(other))).not.toBe(customerOf(formatIpv6(bytes)))
      }),
    )
  })
})
