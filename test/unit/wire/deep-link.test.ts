import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeDeepLink, encodeDeepLink } from '../../../src/wire/deep-link.ts'
import type { DeepLinkFields } from '../../../src/wire/deep-link.ts'
import vectors from '../../vectors/wire.json' with { type: 'json' }

const REQUIRED = '010168050175060170020161'
const link = (hex: string, scheme = 'tt://?'): string =>
  scheme + Buffer.from(hex, 'hex').toString('base64url')

describe('deep link', () => {
  it.each(vectors.deep_link)('a deep link is the vector of $fields.username both ways', ({ fields, uri }) => {
    expect(encodeDeepLink(fields as DeepLinkFields)).toBe(uri)
    expect(decodeDeepLink(uri)).toMatchObject(fields)
    expect(decodeDeepLink(uri.replace('?', ''))).toMatchObject(fields)
  })

  it('a deep link means the defaults where it leaves something out', () => {
    expect(decodeDeepLink(link(REQUIRED))).toEqual({
      version: 0,
      hostname: 'h',
      username: 'u',
      password: 'p',
      addresses: ['a'],
      hasIpv6: true,
      skipVerification: false,
      antiDpi: false,
      upstreamProtocol: 'http2',
      dnsUpstreams: [],
    })
  })

  it('a deep link may have unknown tags, those that end in a known byte too', () => {
    const expected = decodeDeepLink(link(REQUIRED))
    expect(decodeDeepLink(link(`${REQUIRED}0e01027f000041010199`))).toEqual(expected)
  })

  it('a deep link carries certificates in DER', () => {
    const certificate = Buffer.alloc(1500, 0x30)
    const uri = encodeDeepLink({ hostname: 'h', username: 'u', password: 'p', addresses: ['a'], certificate })
    expect(Buffer.from(decodeDeepLink(uri).certificate ?? []).equals(certificate)).toBe(true)
  })

  it.each([
    ['http://x', 'scheme'],
    ['tt://?AA=', 'payload'],
    ['tt://?A+/A', 'payload'],
    ['tt://?AAAAA', 'payload'],
    [link(''), 'hostname'],
    [link('010168050175060170'), 'address'],
    [link('020161050175060170'), 'hostname'],
    [link('010168060170020161'), 'username'],
    [link('010168050175020161'), 'password'],
    [link(`${REQUIRED}04`), 'has_ipv6: truncated'],
    [link(`${REQUIRED}0402`), 'has_ipv6: truncated'],
    [link(`${REQUIRED}0c05616263`), 'name: truncated'],
    [link(`${REQUIRED}40`), 'tag: truncated'],
    [link(`${REQUIRED}7fff05`), 'tag 16383: truncated'],
    [link(`${REQUIRED}0cffffffffffffffff`), 'name: truncated'],
    [link(`${REQUIRED}040102`), 'has_ipv6'],
    [link(`${REQUIRED}07020101`), 'skip_verification'],
    [link(`${REQUIRED}0a00`), 'anti_dpi'],
    [link(`${REQUIRED}090103`), 'upstream_protocol'],
    [link(`${REQUIRED}0b03616263`), 'client_random_prefix'],
    [link(`${REQUIRED}0b0461622f7a`), 'client_random_prefix'],
    [link(`${REQUIRED}0c02c328`), 'name: not UTF-8'],
    [link(`${REQUIRED}0d020561`), 'dns_upstreams: truncated'],
    [link(`000140${REQUIRED}`), 'version: truncated'],
    [link(`0000${REQUIRED}`), 'version: truncated'],
  ])('a deep link with %s fails and names %s', (uri, field) => {
    expect(() => decodeDeepLink(uri)).toThrow(
      expect.objectContaining({
        code: 'malformed',
        message: expect.stringContaining(field) as string,
      }) as Error,
    )
  })

  it('a deep link of a later version is unsupported, and nothing is written that could not be read', () => {
    expect(() => decodeDeepLink(link(`000102${REQUIRED}`))).toThrow(
      expect.objectContaining({ code: 'unsupported' }) as Error,
    )
    const fields = { hostname: 'h', username: 'u', password: 'p' }
    expect(() => encodeDeepLink({ ...fields, addresses: [] })).toThrow('address')
    expect(() => encodeDeepLink({ ...fields, addresses: ['a'], clientRandomPrefix: 'abc' })).toThrow(
      'client_random_prefix',
    )
  })

  it('a deep link reads back as it was written', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 })
    const hex = fc
      .uint8Array({ minLength: 1, maxLength: 8 })
      .map((bytes) => Buffer.from(bytes).toString('hex'))
    const fields: fc.Arbitrary<DeepLinkFields> = fc.record(
      {
        hostname: text,
        username: text,
        password: text,
        addresses: fc.array(text, { minLength: 1, maxLength: 4 }),
        clientRandomPrefix: fc.oneof(
          hex,
          fc.tuple(hex, hex).map((halves) => halves.join('/')),
        ),
        customSni: text,
        hasIpv6: fc.boolean(),
        skipVerification: fc.boolean(),
        antiDpi: fc.boolean(),
        upstreamProtocol: fc.constantFrom('http2' as const, 'http3' as const),
        name: text,
        dnsUpstreams: fc.array(text, { maxLength: 3 }),
      },
      { requiredKeys: ['hostname', 'username', 'password', 'addresses'] },
    )
    fc.assert(
      fc.property(fields, (given) => {
        expect(decodeDeepLink(encodeDeepLink(given))).toMatchObject({ ...given, version: 1 })
      }),
    )
  })
})
