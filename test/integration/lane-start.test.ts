/**
 * A lane that cannot start. What had been opened before the fault used to stay open: the tick of the sessions and, with
 * `[icmp]`, two raw sockets.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { pino } from 'pino'
import { expect, it, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Settings } from '../../src/config/settings.ts'
import { Lane } from '../../src/lane/lane.ts'
import { ConfigDirectory, VPN } from '../support/config-directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { countSockets } from '../support/open-descriptors.ts'
import { findClosedPort } from '../support/closed-port.ts'
import { loneLane, planOf } from '../support/lane-share.ts'

const unusable = ({ hosts, ...settings }: Settings): Settings => ({
  ...settings,
  hosts: { ...hosts, main_hosts: hosts.main_hosts.map((host) => ({ ...host, private_key: 'no key' })) },
})

it.each([
  ['HTTP/1.1 and HTTP/2 alone', ''],
  ['[icmp]', '[icmp]\n'],
])('a lane whose start fails leaves nothing open, with %s', async (_name, tables) => {
  using directory = new ConfigDirectory({ 'vpn.toml': `${VPN.replace(':8443', ':0')}${tables}` })
  const clock = new FakeClock()
  const before = countSockets()
  const opening = Lane.open(unusable(await directory.load()), {
    clock,
    log: pino({ level: 'silent' }),
    ticketKeys: Buffer.alloc(48),
    share: loneLane('alice'),
  })
  await expect(opening).rejects.toThrow()
  expect(clock.pending).toBe(0)
  await expect.poll(countSockets).toBe(before)
})

it('a lane that listens on a public address takes no empty list of users, whoever checked it', async () => {
  using directory = new ConfigDirectory({
    'vpn.toml': VPN.replace('127.0.0.1:8443', `0.0.0.0:${await findClosedPort()}`),
  })
  const settings = await directory.load()
  const deps = {
    clock: new FakeClock(),
    log: pino({ level: 'silent' }),
    ticketKeys: Buffer.alloc(48),
    share: loneLane('alice'),
  }
  await expect(Lane.open({ ...settings, clients: [] }, deps)).rejects.toThrow('no users')
  const lane = await Lane.open(settings, deps)
  const vpn = { ...settings.vpn, listen_address: { address: '127.0.0.1', family: 4, port: 0 } as const }
  await expect(lane.prepare({ ...settings, vpn, clients: [] }, planOf())).rejects.toThrow('no users')
  await lane.close({ graceMs: 0 })
})

it('a lane whose port is taken for UDP says which it is', async () => {
  const other = createSocket('udp4').bind(await findClosedPort(), '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address()
  using directory = new ConfigDirectory({
    'vpn.toml': `${VPN.replace(':8443', `:${port}`)}[listen_protocols.quic]\n`,
  })
  const opening = Lane.open(await directory.load(), {
    clock: systemClock,
    log: pino({ level: 'silent' }),
    ticketKeys: Buffer.alloc(48),
    share: loneLane('alice'),
  })
  await expect(opening).rejects.toMatchObject({
    code: expect.any(String),
    message: expect.stringMatching(`^cannot listen for HTTP/3 on UDP 127\\.0\\.0\\.1:${port}: .*in use`),
  })
  other.close()
  await once(other, 'close')
})

it('a connection that the system cannot hand over costs the lane nothing but that connection', async () => {
  using directory = new ConfigDirectory({ 'vpn.toml': VPN.replace(':8443', ':0') })
  // The listener is private; the error is what Node makes of a failed accept(2).
  const created = vi.spyOn(net, 'createServer')
  const lane = await Lane.open(await directory.load(), {
    clock: systemClock,
    log: pino({ level: 'silent' }),
    ticketKeys: Buffer.alloc(48),
    share: loneLane('alice'),
  })
  const server = created.mock.results[0]?.value as net.Server
  created.mockRestore()
  for (const code of ['ENFILE', 'ENOMEM']) server.emit('error', Object.assign(new Error(code), { code }))
  expect(lane.stats()).toMatchObject({ 'gate_dropped{accept_failed}': 2 })
  const client = net.connect(lane.address.port, '127.0.0.1')
  await once(client, 'connect')
  client.destroy()
  await lane.close({ graceMs: 0 })
})

expectNothingLeftOpen()
