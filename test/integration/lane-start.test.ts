/**
 * A lane that cannot start. What had been opened before the fault stayed: the tick of the sessions, and with `[icmp]`
 * two raw sockets.
 */
import { pino } from 'pino'
import { expect, it } from 'vitest'
import type { Settings } from '../../src/config/settings.ts'
import { Lane } from '../../src/lane/lane.ts'
import { ConfigDirectory, VPN } from '../support/config-directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { countSockets } from '../support/open-descriptors.ts'

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
  })
  await expect(opening).rejects.toThrow()
  expect(clock.pending).toBe(0)
  await expect.poll(countSockets).toBe(before)
})

expectNothingLeftOpen()
