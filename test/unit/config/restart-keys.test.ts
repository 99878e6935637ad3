import { describe, expect, it } from 'vitest'
import { keysThatTakeARestart } from '../../../src/config/restart-keys.ts'
import { ConfigDirectory, CREDENTIALS, VPN } from '../../support/config-directory.ts'

async function changed(before: string, after: string): Promise<string[]> {
  using directory = new ConfigDirectory({ 'vpn.toml': before })
  const running = await directory.load()
  directory.write('vpn.toml', after)
  directory.write('other.toml', CREDENTIALS)
  return keysThatTakeARestart(running.vpn, (await directory.load()).vpn)
}

describe('keys that take a restart', () => {
  it('keys that take a restart are none when nothing or only what a reload puts in force has changed', async () => {
    expect(await changed(VPN, `${VPN}# a comment`)).toEqual([])
    const pass = '[[culvert.edge.pass]]\nnames = ["other.test"]\nto = "127.0.0.1:1"'
    const users = VPN.replace('credentials.toml', 'other.toml')
    expect(await changed(VPN, `default_max_http2_conns_per_client = 9\n${users}${pass}`)).toEqual([])
  })

  it('keys that take a restart are named one by one, and tables that came or went as a whole', async () => {
    const after = `ping_enable = true\n${VPN.replace('8443', '8444')}max_frame_size = 20000\n`
    expect(await changed(VPN, `${after}[icmp]\n[culvert.log]\nprivacy = "full"`)).toEqual([
      'listen_address',
      'ping_enable',
      'listen_protocols.http2.max_frame_size',
      'icmp',
      'culvert.log.privacy',
    ])
  })
})
