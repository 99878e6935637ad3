/**
 * The machine's public addresses used to be open to every client: a database that listens on one of them behind the
 * host's firewall could be reached through the tunnel, because the connection comes from the machine itself.
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
const PRIVATE = '502 310 - DNS: resolved address in non-routable network'

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' })

describe.skipIf(obstacle !== undefined)(
  `own public addresses${obstacle ? ` (skipped: ${obstacle})` : ''}`,
  () => {
    beforeAll(() => {
      ip('netns', 'add', NAMESPACE)
      ip('-n', NAMESPACE, 'link', 'set', 'lo', 'up')
      ip('-n', NAMESPACE, 'addr', 'add', `${OWN}/32`, 'dev', 'lo')
    })
    afterAll(() => ip('netns', 'del', NAMESPACE))

    it(
      'own public addresses are refused like private ones over TCP, UDP and ICMP, opened one by one, and noticed when they change',
      { timeout: 60_000 },
      async () => {
        const script = join(import.meta.dirname, '../support/own-address-process.ts')
        const args = ['netns', 'exec', NAMESPACE, process.execPath, script, OWN, LATER]
        const { stdout } = await promisify(execFile)('ip', args)
        expect(JSON.parse(stdout)).toEqual({
          tcp: { closed: PRIVATE, opened: '200' },
          udp: { reply: 'y', received: 0, drops: 1 },
          later: PRIVATE,
        })
      },
    )
  },
)

expectNothingLeftOpen()
