/**
 * The machine's public addresses used to be open to every client: a database that listens on one of them behind the
 * host's firewall could be reached through the tunnel, because the connection comes from the machine itself.
 * Addresses of an interface without a carrier, and ranges with a local route, which Node does not list, stayed open.
 */
import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { networkObstacle } from '../support/routed-network.ts'

const obstacle = networkObstacle()
const NAMESPACE = `culvert-own-${process.pid}`
/** Public addresses that no machine here has: the namespace has no way out. */
const OWN = '11.22.33.44'
const LATER = '11.22.33.55'
const WITHOUT_CARRIER = ['11.22.44.1', '2a00:99::1']
/** Within ranges that have a local route. */
const ROUTED = ['11.22.55.66', '2a00:98::5']
const PRIVATE = '502 310 - DNS: resolved address in non-routable network'

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' })

describe.skipIf(obstacle !== undefined)(
  `own public addresses${obstacle ? ` (skipped: ${obstacle})` : ''}`,
  () => {
    beforeAll(() => {
      ip('netns', 'add', NAMESPACE)
      ip('-n', NAMESPACE, 'link', 'set', 'lo', 'up')
      ip('-n', NAMESPACE, 'addr', 'add', `${OWN}/32`, 'dev', 'lo')
      ip('-n', NAMESPACE, 'link', 'add', 'own0', 'type', 'veth', 'peer', 'name', 'own1')
      ip('-n', NAMESPACE, 'link', 'set', 'own0', 'up')
      ip('-n', NAMESPACE, 'addr', 'add', `${WITHOUT_CARRIER[0]}/24`, 'dev', 'own0')
      ip('-n', NAMESPACE, 'addr', 'add', `${WITHOUT_CARRIER[1]}/64`, 'dev', 'own0', 'nodad')
      ip('-n', NAMESPACE, 'route', 'add', 'local', '11.22.55.0/24', 'dev', 'lo')
      ip('-n', NAMESPACE, '-6', 'route', 'add', 'local', '2a00:98::/64', 'dev', 'lo')
    })
    afterAll(() => ip('netns', 'del', NAMESPACE))

    it(
      'own public addresses are refused like private ones over TCP, UDP and ICMP, opened one by one, and noticed when they change',
      { timeout: 60_000 },
      async () => {
        const script = join(import.meta.dirname, '../support/own-address-process.ts')
        const args = [
          'netns',
          'exec',
          NAMESPACE,
          process.execPath,
          script,
          OWN,
          LATER,
          ...WITHOUT_CARRIER,
          ...ROUTED,
        ]
        const { stdout } = await promisify(execFile)('ip', args)
        expect(JSON.parse(stdout)).toEqual({
          tcp: { closed: PRIVATE, opened: '200' },
          unlisted: [PRIVATE, PRIVATE, PRIVATE, PRIVATE],
          udp: { reply: 'y', received: 0, drops: 1 },
          later: PRIVATE,
        })
      },
    )
  },
)

expectNothingLeftOpen()
