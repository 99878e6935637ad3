import { describe, expect, it } from 'vitest'
import { HostMap } from '../../../src/gate/host-map.ts'

const web = { host: '127.0.0.1', port: 8443 }
const map = new HostMap({
  hosts: [
    { channel: 'ping', hostname: 'ping.example.com', allowedSni: ['shared.example.com'] },
    { channel: 'main', hostname: 'VPN.example.com', allowedSni: ['cdn.example.net', '*.alias.example'] },
    { channel: 'main', hostname: '*.wild.example', allowedSni: [] },
    { channel: 'reverse_proxy', hostname: 'app.example.com', allowedSni: ['shared.example.com'] },
    { channel: 'speedtest', hostname: 'speed.example.com', allowedSni: ['vpn.example.com'] },
  ],
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
  ])('%s is for %s', (name, channel, certificateIndex) => {
    expect(map.find(name)).toEqual({ kind: 'host', channel, certificateIndex })
  })

  it.each(['www.example.com', 'anything.example.com', 'a.wild.example'])('%s is passed on', (name) => {
    expect(map.find(name)).toEqual({ kind: 'pass', to: web })
  })

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
  ])('%j is not known', (name) => {
    expect(map.find(name)).toBeUndefined()
  })

  it('answers unknown names with the first main host, or passes them on', () => {
    expect(map.decoy).toEqual({ kind: 'host', channel: 'decoy', certificateIndex: 1 })
    expect(map.passAll).toEqual({ kind: 'pass', to: { path: '/run/rest.sock' } })
    expect(new HostMap({ hosts: [], pass: [] }).passAll).toBeUndefined()
  })
})
