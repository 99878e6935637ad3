/** The certificates and keys that `hosts.toml` names: whatever would keep TLS from using them is told with the host. */
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createSelfSignedCertificate } from '../../../src/cli/try/certificate.ts'
import { ConfigDirectory, HOSTS } from '../../support/config-directory.ts'
import { missing } from '../../support/outside-program.ts'

describe('hosts.toml', () => {
  it('hosts.toml refuses a key of another certificate', async () => {
    const other = createSelfSignedCertificate({ names: ['vpn.endpoint'], days: 1 })
    using directory = new ConfigDirectory({ 'key.pem': other.privateKey })
    expect(await directory.problems()).toEqual([
      expect.stringMatching(
        /^main_hosts\[0\]: Invalid main TLS hosts: Invalid key: path='.*key\.pem', error='it does not belong/,
      ),
    ])
  })

  it('hosts.toml refuses files that hold no certificate and no key', async () => {
    using directory = new ConfigDirectory({ 'cert.pem': 'x', 'key.pem': 'y' })
    expect(await directory.problems()).toEqual([
      expect.stringMatching(/Invalid cert chain: path=.*no certificate in PEM form is in it/),
      expect.stringMatching(/Invalid key: path=.*no private key in PEM form is in it/),
    ])
  })

  it('hosts.toml refuses an encrypted key and says so, in both forms of PEM', async () => {
    using directory = new ConfigDirectory()
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    for (const type of ['pkcs8', 'sec1'] as const) {
      const pem = privateKey.export({ format: 'pem', type, cipher: 'aes-256-cbc', passphrase: 'x' })
      directory.write('key.pem', pem)
      expect(await directory.problems()).toEqual([
        expect.stringMatching(/Invalid key: path='.*key\.pem', error='it is encrypted; /),
      ])
    }
  })

  const absent = missing('openssl')
  it.skipIf(absent.any)(
    `hosts.toml refuses a certificate that TLS refuses, once where two hosts share it${absent.note}`,
    async () => {
      using directory = new ConfigDirectory({
        'hosts.toml': HOSTS + HOSTS.replace('vpn.endpoint', 'two.vpn.endpoint'),
      })
      const pair = ['-keyout', join(directory.path, 'key.pem'), '-out', join(directory.path, 'cert.pem')]
      const args = ['req', '-x509', '-newkey', 'rsa:1024', '-nodes', ...pair, '-subj', '/CN=vpn.endpoint']
      execFileSync('openssl', args, { stdio: 'ignore' })
      expect(await directory.problems()).toEqual([
        expect.stringMatching(
          /^main_hosts\[0\]: Invalid main TLS hosts: Invalid cert chain: path='.*cert\.pem', error='TLS refuses it: its key is too short; RSA needs 2048 bits or more'$/,
        ),
      ])
    },
  )

  it('hosts.toml warns of an expired certificate and of one for another name', async () => {
    const old = createSelfSignedCertificate({
      names: ['other'],
      days: 1,
      now: new Date('2020-01-01T00:00:00Z'),
    })
    using directory = new ConfigDirectory({ 'cert.pem': old.certificate, 'key.pem': old.privateKey })
    expect(await directory.warnings()).toEqual([
      'main_hosts[0]: the certificate expired on 2020-01-02T00:00:00.000Z',
      'main_hosts[0]: the certificate does not name vpn.endpoint; clients that verify it will refuse',
    ])
  })
})
