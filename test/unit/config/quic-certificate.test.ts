/**
 * Over QUIC every host shows the first main host's certificate: a client that verifies certificates cannot connect to
 * the others unless that certificate names them. The operator is warned of each such host, and `export` writes HTTP/2
 * for it.
 */
import { X509Certificate } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createClientConfig } from '../../../src/cli/export/client-config.ts'
import { createSelfSignedCertificate } from '../../../src/cli/try/certificate.ts'
import { ConfigDirectory, VPN } from '../../support/config-directory.ts'
import { missing } from '../../support/outside-program.ts'

const QUIC_ONLY = VPN.replace('[listen_protocols.http2]', '[listen_protocols.quic]')
const BOTH = `${VPN}[listen_protocols.quic]\n`

function directoryOf(certificateNames: readonly string[], hosts: string, vpn = BOTH): ConfigDirectory {
  const { certificate, privateKey } = createSelfSignedCertificate({ names: certificateNames, days: 2 })
  return new ConfigDirectory({
    'vpn.toml': vpn,
    'hosts.toml': hosts,
    'first.pem': certificate,
    'first.key': privateKey,
  })
}

function host(list: string, hostname: string, pair: 'first' | 'other'): string {
  const [chain, key] = pair === 'first' ? ['first.pem', 'first.key'] : ['cert.pem', 'key.pem']
  return `[[${list}]]\nhostname = "${hostname}"\ncert_chain_path = "${chain}"\nprivate_key_path = "${key}"\n`
}

const HOSTS = [
  host('main_hosts', 'a.example', 'first'),
  host('main_hosts', 'vpn.endpoint', 'other'),
  host('ping_hosts', '*.ping.example', 'other'),
].join('')

/** Those about HTTP/3: the ping host's own certificate is not for its name either. */
async function warningsOf(directory: ConfigDirectory): Promise<string[]> {
  return (await directory.warnings()).filter((text) => /HTTP\/3|QUIC/u.test(text))
}

const notFor = (name: string, reach = 'clients reach it over HTTP/2 only'): string =>
  `the certificate of a.example, which HTTP/3 shows under every name, is not for ${name}: ` +
  `${reach}; one certificate with all names serves both`

describe('the warnings', () => {
  it('warnings about the certificate over QUIC name each host that it does not cover', async () => {
    using directory = directoryOf(['a.example'], HOSTS)
    expect(await warningsOf(directory)).toEqual([
      `main_hosts[1].hostname: ${notFor('vpn.endpoint')}`,
      `ping_hosts[0].hostname: ${notFor('*.ping.example')}`,
    ])
  })

  it.each([
    ['cannot reach it', QUIC_ONLY, 'clients cannot reach it, because HTTP/2 is off'],
    [
      'reach it over HTTP/1.1',
      `${QUIC_ONLY}[listen_protocols.http1]\n`,
      'clients reach it over HTTP/1.1 only, because HTTP/2 is off',
    ],
  ])('warnings about the certificate over QUIC say that clients %s without HTTP/2', async (_, vpn, reach) => {
    using directory = directoryOf(['a.example'], HOSTS, vpn)
    expect(await warningsOf(directory)).toEqual([
      `main_hosts[1].hostname: ${notFor('vpn.endpoint', reach)}`,
      `ping_hosts[0].hostname: ${notFor('*.ping.example')}`,
    ])
  })

  it('warnings about the certificate over QUIC know that reverse-proxy hosts speak HTTP/1.1 only', async () => {
    const hosts =
      host('main_hosts', 'a.example', 'first') + host('reverse_proxy_hosts', 'web.example', 'other')
    using directory = directoryOf(['a.example'], hosts)
    expect(await warningsOf(directory)).toEqual([
      `reverse_proxy_hosts[0].hostname: ${notFor('web.example', 'clients reach it over HTTP/1.1 only')}`,
    ])
  })

  it('warnings about the certificate over QUIC leave the first host to the one about its own certificate', async () => {
    using directory = directoryOf(['b.example'], host('main_hosts', 'a.example', 'first'))
    expect(await directory.warnings()).toEqual([
      'main_hosts[0]: the certificate does not name a.example; clients that verify it will refuse',
    ])
  })

  it.each([
    ['one certificate has all names', ['a.example', 'vpn.endpoint', '*.ping.example'], BOTH],
    ['there is no QUIC', ['a.example'], VPN],
  ])('warnings about the certificate over QUIC are absent when %s', async (_, names, vpn) => {
    using directory = directoryOf(names, HOSTS, vpn)
    expect(await warningsOf(directory)).toEqual([])
  })

  const absent = missing('openssl')
  it.skipIf(absent.any)(
    `warnings about the certificate over QUIC tell of an Ed25519 key${absent.note}`,
    async () => {
      using directory = directoryOf(['a.example'], host('main_hosts', 'a.example', 'first'))
      const pair = ['-keyout', join(directory.path, 'first.key'), '-out', join(directory.path, 'first.pem')]
      const subject = ['-subj', '/CN=a.example', '-addext', 'subjectAltName=DNS:a.example', '-days', '2']
      const args = ['req', '-x509', '-newkey', 'ed25519', '-nodes', ...pair, ...subject]
      execFileSync('openssl', args, { stdio: 'ignore' })
      expect(await warningsOf(directory)).toEqual([
        'main_hosts[0].cert_chain_path: its key is Ed25519, which clients that imitate Chrome refuse over QUIC: use ECDSA P-256 or RSA',
      ])
    },
  )
})

describe('what export writes', () => {
  it.each([
    ['http3 where only QUIC is spoken', ['a.example'], QUIC_ONLY, 'http3'],
    [
      'http3 where only QUIC is spoken, with a certificate for another name',
      ['b.example'],
      QUIC_ONLY,
      'http3',
    ],
    ['http2 where both are', ['a.example'], BOTH, 'http2'],
  ])('what export writes is %s', async (_, names, vpn, protocol) => {
    using directory = directoryOf(names, host('main_hosts', 'a.example', 'first'), vpn)
    const options = { username: 'alice', addresses: ['203.0.113.1'], trust: { roots: [] } }
    const { config } = createClientConfig(await directory.load(), options)
    expect(config.upstreamProtocol).toBe(protocol)
  })

  it.each([
    ['its own where HTTP/2 is spoken', BOTH, 'vpn.endpoint', []],
    [
      'that over HTTP/3 where it is not',
      QUIC_ONLY,
      'a.example',
      [expect.stringContaining('clients cannot connect')],
    ],
  ])(
    'what export writes for the second main host has a certificate: %s',
    async (_, vpn, subject, expected) => {
      using directory = directoryOf(['a.example'], HOSTS, vpn)
      const options = { username: 'alice', addresses: ['203.0.113.1'], trust: { roots: [] } }
      const { config, warnings } = createClientConfig(await directory.load(), {
        ...options,
        customSni: 'vpn.endpoint',
      })
      expect(config.hostname).toBe('vpn.endpoint')
      expect(new X509Certificate(config.certificate).subject).toBe(`CN=${subject}`)
      expect(warnings).toEqual(expected)
    },
  )
})
