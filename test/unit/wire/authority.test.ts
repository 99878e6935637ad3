import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatAuthority, parseAuthority, parseHttpAuthority } from '../../../src/wire/authority.ts'

const label63 = 'a'.repeat(63)
const longest = `${label63}.${label63}.${label63}.${'a'.repeat(61)}`

describe('authority', () => {
  it.each([
    ['192.0.2.1:443', { kind: 'address', address: '192.0.2.1', family: 4, port: 443 }],
    ['[2001:DB8::1]:8443', { kind: 'address', address: '2001:db8::1', family: 6, port: 8443 }],
    ['[::ffff:127.0.0.1]:80', { kind: 'address', address: '::ffff:127.0.0.1', family: 6, port: 80 }],
    ['example.com:443', { kind: 'name', host: 'example.com', port: 443 }],
    ['Example.COM.:1', { kind: 'name', host: 'Example.COM.', port: 1 }],
    ['localhost:65535', { kind: 'name', host: 'localhost', port: 65_535 }],
    ['xn--d1acpjx3f.xn--p1ai:80', { kind: 'name', host: 'xn--d1acpjx3f.xn--p1ai', port: 80 }],
    ['_dmarc.example.com:53', { kind: 'name', host: '_dmarc.example.com', port: 53 }],
    ['a_b.example:53', { kind: 'name', host: 'a_b.example', port: 53 }],
    ['1.example:0443', { kind: 'name', host: '1.example', port: 443 }],
    ['4chan.org:443', { kind: 'name', host: '4chan.org', port: 443 }],
    [`${longest}:1`, { kind: 'name', host: longest, port: 1 }],
    [`${longest}.:1`, { kind: 'name', host: `${longest}.`, port: 1 }],
    ['_udp2', { kind: 'udp' }],
    ['_udp2:0', { kind: 'udp' }],
    ['_icmp', { kind: 'icmp' }],
    ['_icmp:0', { kind: 'icmp' }],
    ['_check', { kind: 'check' }],
    ['_check:443', { kind: 'check' }],
    ['_check:65535', { kind: 'check' }],
  ])('the authority %s is read', (text, expected) => {
    expect(parseAuthority(text)).toEqual(expected)
  })

  it.each([
    '',
    ':443',
    'example.com',
    'example.com:',
    'example.com:0',
    'example.com:65536',
    'example.com:+80',
    'example.com:-1',
    'example.com:0x50',
    'example.com: 80',
    'example.com:80 ',
    'example.com:000080',
    'user@example.com:80',
    'http://example.com:80',
    'example.com:80/path',
    'exa mple.com:80',
    '.example.com:80',
    'a..b:80',
    '-a.example:80',
    'a-.example:80',
    `${label63}a.example:80`,
    `${longest}a:80`,
    'пример.рф:80',
    'example.com\u0000:80',
    '192.0.2.1',
    '::1:80',
    '2001:db8::1:443',
    '[::1]',
    '[::1]80',
    '[::1]:0',
    '[::1:80',
    '[fe80::1%eth0]:80',
    '[192.0.2.1]:80',
    '[]:80',
    '_udp2:',
    '_udp2:x',
    '_check:65536',
    '_check:99999',
    '_icmp:123456',
    '_mptcp_open:0',
    // What inet_aton reads as 127.0.0.1 or another address that no one has checked.
    '127.1:80',
    '127.0.1:80',
    '0x7f.1:80',
    '0x7f000001:80',
    '0x:80',
    '2130706433:80',
    '010.0.0.1:80',
    '0177.0.0.1:80',
    '1.2.3.4.:80',
    '1.2.3.4.5:80',
    '256.1.1.1:80',
    'a.0x1:80',
    'example.123:80',
    'toString',
    '__proto__',
    'constructor:x',
  ])('the authority %j is refused', (text) => {
    expect(() => parseAuthority(text)).toThrow(expect.objectContaining({ code: 'target_refused' }) as Error)
  })

  it('an authority reads back as it was written', () => {
    const host = fc.oneof(
      fc.ipV4().map((text) => ({ text, kind: 'address' })),
      fc.ipV6().map((text) => ({ text: `[${text}]`, kind: 'address' })),
      fc.domain().map((text) => ({ text, kind: 'name' })),
    )
    fc.assert(
      fc.property(host, fc.integer({ min: 1, max: 65_535 }), ({ text, kind }, port) => {
        const target = parseAuthority(`${text}:${port}`)
        if (!('port' in target)) return expect.unreachable()
        expect(target.kind).toBe(kind)
        expect(parseAuthority(formatAuthority(target))).toEqual(target)
      }),
    )
  })

  it('parsing an authority never throws anything else, and never takes a host with a strange character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        try {
          const target = parseAuthority(text)
          if (target.kind === 'name') expect(target.host).toMatch(/^[a-z0-9._-]+$/i)
        } catch (error) {
          expect(error).toMatchObject({ code: 'target_refused' })
        }
      }),
    )
  })
})

describe('authority of an http: address', () => {
  it.each([
    ['example.com', { kind: 'name', host: 'example.com', port: 80 }],
    ['example.com:8080', { kind: 'name', host: 'example.com', port: 8080 }],
    ['192.0.2.1', { kind: 'address', address: '192.0.2.1', family: 4, port: 80 }],
    ['[2001:db8::1]', { kind: 'address', address: '2001:db8::1', family: 6, port: 80 }],
    ['[2001:db8::1]:81', { kind: 'address', address: '2001:db8::1', family: 6, port: 81 }],
  ])('the authority %s of an http: address is read', (text, expected) => {
    expect(parseHttpAuthority(text)).toEqual(expected)
  })

  it.each([
    '',
    ':80',
    'example.com:',
    'user@example.com',
    '_check',
    '_udp2:80',
    '2001:db8::1',
    '127.1',
    ']',
    'a]',
  ])('the authority %j of an http: address is refused', (text) => {
    expect(() => parseHttpAuthority(text)).toThrow(expect.objectContaining({ code: 'target_refused' }))
  })
})
