import { readFileSync } from 'node:fs'
import { X509Certificate } from 'node:crypto'
import { parse } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { createSelfSignedCertificate } from '../../../../src/cli/try/certificate.ts'
import { isTrusted, parseChain } from '../../../../src/cli/export/certificate-trust.ts'
import {
  createClientConfig,
  encodeClientLink,
  encodeClientToml,
  type ClientConfig,
  type ClientConfigOptions,
} from '../../../../src/cli/export/client-config.ts'
import { decodeDeepLink, type DeepLink } from '../../../../src/wire/deep-link.ts'
import { ConfigDirectory, HOSTS, VPN } from '../../../support/config-directory.ts'

interface Vector {
  readonly fields: Partial<DeepLink> & Pick<DeepLink, 'hostname' | 'username' | 'password' | 'addresses'>
  readonly uri: string
}
const vectors = (
  JSON.parse(readFileSync(new URL('../../../vectors/wire.json', import.meta.url), 'utf8')) as {
    deep_link: Vector[]
  }
).deep_link

const RULES = `[[rule]]
client_random_prefix = "aabb"
action = "allow"
[[rule]]
client_random_prefix = "c0c0/f0f0"
client_random_psk_key = "0011"
action = "deny"
`
const FILES = {
  'vpn.toml': `rules_file = "rules.toml"\n${VPN}`,
  'hosts.toml': `${HOSTS}allowed_sni = ["cdn.example.net", "*.example.org"]`,
  'rules.toml': RULES,
}

async function make(options: Partial<ClientConfigOptions> = {}, files: Record<string, string> = FILES) {
  using directory = new ConfigDirectory(files)
  const usual = { username: 'alice', addresses: ['203.0.113.1'], trust: { roots: [] } }
  return createClientConfig(await directory.load(), { ...usual, ...options })
}

describe('deep links', () => {
  it.each(vectors)('a deep link carries what its settings say: $uri', ({ fields, uri }) => {
    const config: ClientConfig = {
      hostname: fields.hostname,
      addresses: fields.addresses,
      customSni: fields.customSni,
      hasIpv6: fields.hasIpv6 ?? true,
      username: fields.username,
      password: fields.password,
      clientRandomPrefix: fields.clientRandomPrefix,
      clientRandomPskKey: undefined,
      certificate: '',
      upstreamProtocol: fields.upstreamProtocol ?? 'http2',
      name: fields.name,
      dnsUpstreams: fields.dnsUpstreams ?? [],
    }
    // The export itself never switches these two on.
    if (fields.skipVerification === true || fields.antiDpi === true) {
      const { antiDpi: _, skipVerification: __, ...rest } = decodeDeepLink(encodeClientLink(config))
      expect(rest).toMatchObject({
        customSni: fields.customSni,
        clientRandomPrefix: fields.clientRandomPrefix,
      })
    } else expect(encodeClientLink(config)).toBe(uri)
  })

  it('deep links carry the certificate when clients could not verify it, and decode back', async () => {
    const { config } = await make({ customSni: 'cdn.example.net', name: 'Дом', dnsUpstreams: ['8.8.8.8'] })
    const link = decodeDeepLink(encodeClientLink(config))
    expect(link).toMatchObject({
      hostname: 'vpn.endpoint',
      addresses: ['203.0.113.1:8443'],
      customSni: 'cdn.example.net',
      username: 'alice',
      password: 's3cret',
      name: 'Дом',
      dnsUpstreams: ['8.8.8.8'],
    })
    expect(new X509Certificate(Buffer.from(link.certificate ?? [])).subject).toBe('CN=vpn.endpoint')
  })
})

describe('TOML', () => {
  it('the TOML has every field, the random under both names, and parses', async () => {
    const { config, warnings } = await make({ clientRandomPrefix: 'aabbcc' })
    expect(warnings).toEqual([])
    expect(parse(encodeClientToml(config))).toEqual({
      hostname: 'vpn.endpoint',
      addresses: ['203.0.113.1:8443'],
      custom_sni: '',
      has_ipv6: true,
      username: 'alice',
      password: 's3cret',
      client_random: 'aabbcc',
      client_random_prefix: 'aabbcc',
      skip_verification: false,
      certificate: config.certificate,
      upstream_protocol: 'http2',
      anti_dpi: false,
      dns_upstreams: [],
    })
    expect(config.certificate).toContain('BEGIN CERTIFICATE')
  })

  it('the TOML survives any password', async () => {
    const { config } = await make()
    const password = "q\"\\\n\u007f'''é"
    expect(parse(encodeClientToml({ ...config, password }))['password']).toBe(password)
  })
})

describe('addresses', () => {
  it.each([
    ['203.0.113.1', '203.0.113.1:8443'],
    ['203.0.113.1:99', '203.0.113.1:99'],
    ['2001:db8::1', '[2001:db8::1]:8443'],
    ['[2001:db8::1]', '[2001:db8::1]:8443'],
    ['[2001:db8::1]:99', '[2001:db8::1]:99'],
    ['vpn.example.org', 'vpn.example.org:8443'],
    ['vpn.example.org:99', 'vpn.example.org:99'],
  ])('the address %s is read', async (address, expected) => {
    expect((await make({ addresses: [address] })).config.addresses).toEqual([expected])
  })

  it.each(['', 'a b', 'x:0', 'x:70000', '[::1', '203.0.113.1:0', 'http://x'])(
    'the address %s is refused',
    async (address) => {
      await expect(make({ addresses: [address] })).rejects.toMatchObject({ code: 'config_invalid' })
    },
  )
})

describe('what the settings must have', () => {
  it('settings must have the user for whom they are', async () => {
    await expect(make({ username: 'bob' })).rejects.toThrow('there is no user "bob"')
  })

  it('settings must have the custom SNI', async () => {
    expect((await make({ customSni: 'a.example.org' })).config.customSni).toBe('a.example.org')
    await expect(make({ customSni: 'a.b.example.org' })).rejects.toThrow('allowed_sni')
    await expect(make({ customSni: 'x y' })).rejects.toThrow('not a host name')
  })

  it('settings may have several main hosts: the custom SNI chooses one, the first is the default', async () => {
    const other = HOSTS.replace('vpn.endpoint', '*.second.example')
    const files = { 'hosts.toml': `${HOSTS}${other}allowed_sni = ["cdn.example.net"]` }
    const hostnameFor = async (customSni?: string) => (await make({ customSni }, files)).config.hostname
    expect(await hostnameFor()).toBe('vpn.endpoint')
    expect(await hostnameFor('a.second.example')).toBe('a.second.example')
    expect(await hostnameFor('cdn.example.net')).toBe('cdn.example.net')
    const { warnings } = await make({ addresses: ['a.second.example:443'] }, files)
    expect(warnings).toEqual([
      'address a.second.example is a name of the main host *.second.example, but this is the configuration for vpn.endpoint; --custom-sni a.second.example makes it for the other',
    ])
  })

  it('settings may lack the name in an address, with a warning', async () => {
    expect(
      (await make({ addresses: ['VPN.endpoint:1', '203.0.113.1', '[2001:db8::1]:99'] })).warnings,
    ).toEqual([])
    expect((await make({ addresses: ['other.example'] })).warnings).toEqual([
      'address other.example is not the name of a main host; clients are told to expect vpn.endpoint there',
    ])
  })

  it('settings must have a rule for the random prefix, else it is dropped', async () => {
    const { config, warnings } = await make({ clientRandomPrefix: 'ffff' })
    expect([config.clientRandomPrefix, warnings]).toEqual([
      undefined,
      ['no rule matches the client random prefix ffff: it is left out'],
    ])
    await expect(make({ clientRandomPrefix: 'xyz' })).rejects.toThrow('not hex')
  })

  it('settings must have a rule that allows the random prefix, else there is a warning', async () => {
    const { config, warnings } = await make({ clientRandomPrefix: 'c1c2', clientRandomPskKey: '0011' })
    expect([config.clientRandomPrefix, config.clientRandomPskKey]).toEqual(['c1c2', '0011'])
    expect(warnings).toHaveLength(2)
  })

  it('settings must have a name under a wildcard host', async () => {
    const files = { 'hosts.toml': HOSTS.replace('vpn.endpoint', '*.example.org') }
    await expect(make({}, files)).rejects.toThrow('choose a name')
    expect((await make({ customSni: 'a.example.org' }, files)).config.hostname).toBe('a.example.org')
  })
})

describe('trust', () => {
  const now = new Date('2026-06-01T00:00:00Z')
  const { certificate } = createSelfSignedCertificate({ names: ['a.example'], days: 10, now })

  it('a certificate is trusted that leads to a known root, for the name, in time', () => {
    expect(isTrusted(certificate, 'a.example', { roots: [certificate], now })).toBe(true)
    expect(isTrusted(certificate, 'b.example', { roots: [certificate], now })).toBe(false)
    expect(isTrusted(certificate, 'a.example', { roots: [], now })).toBe(false)
    const later = new Date('2026-07-01T00:00:00Z')
    expect(isTrusted(certificate, 'a.example', { roots: [certificate], now: later })).toBe(false)
    expect(isTrusted(certificate, 'a.example', { now })).toBe(false)
  })

  it('a certificate is not trusted for a root of the same name with another key', () => {
    const other = createSelfSignedCertificate({ names: ['a.example'], days: 10, now })
    expect(isTrusted(certificate, 'a.example', { roots: [other.certificate], now })).toBe(false)
  })

  it('a certificate is trusted over a whole chain', () => {
    expect(parseChain(certificate + certificate)).toHaveLength(2)
    expect(parseChain('')).toEqual([])
  })
})
