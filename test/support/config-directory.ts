/** Official files in a directory of their own, for tests of the configuration and the command line. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSelfSignedCertificate } from '../../src/cli/try/certificate.ts'
import { ConfigError } from '../../src/config/config-error.ts'
import { loadSettings } from '../../src/config/load.ts'
import type { LoadedSettings } from '../../src/config/load.ts'
import type { VpnSettings } from '../../src/config/settings.ts'

export const VPN = `listen_address = "127.0.0.1:8443"
credentials_file = "credentials.toml"
[listen_protocols.http2]
`
export const HOSTS = `[[main_hosts]]
hostname = "vpn.endpoint"
cert_chain_path = "cert.pem"
private_key_path = "key.pem"
`
export const CREDENTIALS = `[[client]]
username = "alice"
password = "s3cret"
`

/** Everything in it is valid until a test writes something else. */
export class ConfigDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'culvert-config-'))
  readonly vpn = join(this.path, 'vpn.toml')
  readonly hosts = join(this.path, 'hosts.toml')

  /** PEM of the certificate that it was created with. */
  readonly certificate: string

  constructor(files: Readonly<Record<string, string>> = {}) {
    const { certificate, privateKey } = createSelfSignedCertificate({ names: ['vpn.endpoint'], days: 30 })
    this.certificate = certificate
    const usual = {
      'vpn.toml': VPN,
      'hosts.toml': HOSTS,
      'credentials.toml': CREDENTIALS,
      'cert.pem': certificate,
      'key.pem': privateKey,
    }
    for (const [name, content] of Object.entries({ ...usual, ...files })) this.write(name, content)
  }

  write(name: string, content: string | Uint8Array): string {
    const path = join(this.path, name)
    writeFileSync(path, content)
    return path
  }

  load(running?: VpnSettings): Promise<LoadedSettings> {
    return loadSettings(this.vpn, this.hosts, running && { running })
  }

  /** The problems as `path: message`; empty when there are none. */
  async problems(): Promise<string[]> {
    try {
      await this.load()
      return []
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      return error.problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
    }
  }

  async warnings(): Promise<string[]> {
    const { warnings } = await this.load()
    return warnings.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
