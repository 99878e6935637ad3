import { createSecureContext } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { HostMap } from '../../../src/gate/host-map.ts'

const web = { host: '127.0.0.1', port: 8443 }
const hosts = (
  [
    ['ping', 'ping.example.com', 'shared.example.com'],
    ['main', 'vpn.example.com', 'cdn.example.net', '*.alias.example'],
    ['main', '*.wild.example'],
    ['reverse_proxy', 'app.example.com', 'shared.example.com'],
    ['speedtest', 'speed.example.com', 'vpn.example.com'],
  ] as const
).map(([channel, hostname, ...allowedSni]) => ({
  channel,
  hostname,
  allowedSni,
  certificate: createSecureContext(),
}))
const map = new HostMap({
  hosts,
  pass: [
    { names: ['www.example.com', '*.example.com', 'ping.example.com', 'a.wild.example'], to: web },
    { names: [], to: { path: '/run/rest.sock' } },
  ],
})

describe('host map', () => {
  it.each([
    ['vpn.example.com', 'main', 1],
    ['Vpn.EXAMPLE.com', 'main', 1],
    ['vpn.example.com.', 'main', 1],
    ['cdn.example.net', 'main', 1],
    ['x.alias.example', 'main', 1],
    ['b.wild.example', 'main', 2],
    ['ping.example.com', 'ping', 0],
    ['shared.example.com', 'ping', 0],
    ['app.example.com', 'reverse_proxy', 3],
    ['speed.example.com', 'speedtest', 4],
  ])('the server name %s is for %s', (name, channel, index) => {
    expect(map.find(name)).toEqual({ kind: 'host', channel, host: hosts[index] })
  })

  it.each(['www.example.com', 'anything.example.com', 'a.wild.example'])(
    'the server name %s is passed on',
    (name) => {
      expect(map.find(name)).toEqual({ kind: 'pass', to: web })
    },
  )

  it.each([
    undefined,
    '',
    '.',
    'example.com',
    'a.b.example.com',
    'alias.example',
    '.alias.example',
    'a.b.alias.example',
    'vpn.example.com.evil.example',
    'xvpn.example.net',
    '*.alias.example.org',
    '__proto__',
  ])('the server name %j is not known', (name) => {
    expect(map.find(name)).toBeUndefined()
  })

  it('the host map answers unknown names with the first main host, or passes them on', () => {
    expect(map.decoy).toEqual({ kind: 'host', channel: 'decoy', host: hosts[1] })
    expect(map.passAll).toEqual({ kind: 'pass', to: { path: '/run/rest.sock' } })
    const empty = new HostMap({ hosts: [], pass: [] })
    expect([empty.decoy, empty.passAll]).toEqual([undefined, undefined])
  })
})
