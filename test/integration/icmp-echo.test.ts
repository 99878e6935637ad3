/** Echo through real raw sockets: on loopback, and across a router where packets expire or cannot be routed. */
import { spawn } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { EndpointError } from '../../src/errors.ts'
import { openIcmp, type IcmpOptions } from '../../src/egress/icmp.ts'
import { IcmpForwarder } from '../../src/forward/icmp.ts'
import { encodeIcmpRequest, IcmpReplyDecoder, type IcmpReply } from '../../src/wire/icmp-frame.ts'
import { openDatagramTunnel } from '../support/datagram-tunnel.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { countSockets } from '../support/open-descriptors.ts'
import { createRoutedNetwork, networkObstacle, type RoutedNetwork } from '../support/routed-network.ts'
import { ICMP_OPTIONS, ICMP_QUEUE } from '../support/room-options.ts'
import { OpenLedger } from '../support/lane-share.ts'

const log = pino({ level: 'silent' })
const isRoot = process.getuid?.() === 0
const obstacle = networkObstacle()
const MAX_V4 = 65_507

function options(counters: Counters): IcmpOptions {
  return {
    ...ICMP_OPTIONS,
    slots: new OpenLedger(),
    ipv6Available: true,
    policy: { check: () => {} },
    fillRandom: (bytes) => void randomFillSync(bytes),
    clock: systemClock,
    counters,
    log,
  }
}

async function start(extra: Partial<IcmpOptions> = {}) {
  const counters = new Counters()
  const icmp = await openIcmp({ ...options(counters), ...extra })
  const forwarder = new IcmpForwarder({ ...ICMP_QUEUE, sender: icmp, counters })
  const connect = async (user = 'alice') => {
    const tunnel = await openDatagramTunnel(forwarder, { user })
    const replies: IcmpReply[] = []
    const decoder = new IcmpReplyDecoder()
    tunnel.client.on('data', (chunk: Buffer) => replies.push(...decoder.push(chunk)))
    const ask = (request: Partial<Parameters<typeof encodeIcmpRequest>[0]>): void =>
      void tunnel.client.write(
        encodeIcmpRequest({
          id: 7,
          destination: '127.0.0.1',
          sequence: 1,
          ttl: 64,
          dataSize: 56,
          ...request,
        }),
      )
    return { tunnel, replies, ask }
  }
  return { icmp, counters, connect, ...(await connect()) }
}

function countDistinct(replies: IcmpReply[]): number {
  return new Set(replies.map(({ source, sequence }) => `${source} ${sequence}`)).size
}

it('ICMP is refused when it is not enabled', async () => {
  const forwarder = new IcmpForwarder({ ...ICMP_QUEUE, sender: undefined, counters: new Counters() })
  await expect(openDatagramTunnel(forwarder)).rejects.toMatchObject({ code: 'not_available' })
})

describe.skipIf(!isRoot)(`on loopback${isRoot ? '' : ' (skipped: needs root for CAP_NET_RAW)'}`, () => {
  it.each(['127.0.0.1', '::1'])('ICMP on loopback carries every size to %s', async (destination) => {
    const sockets = countSockets()
    const { icmp, tunnel, ask, replies, counters } = await start()
    const sizes = [0, 1, 3, 56, 1472, 9000, MAX_V4]
    for (const [sequence, dataSize] of sizes.entries()) ask({ id: 0xfffe, destination, sequence, dataSize })
    await expect.poll(() => replies.length, { timeout: 10_000 }).toBe(sizes.length)
    const type = destination === '::1' ? 129 : 0
    expect(replies.toSorted((a, b) => a.sequence - b.sequence)).toEqual(
      sizes.map((_, sequence) => ({
        id: 0xfffe,
        source: destination,
        family: type === 0 ? 4 : 6,
        type,
        code: 0,
        sequence,
      })),
    )
    tunnel.client.end()
    expect(await tunnel.ended).toEqual({
      reason: 'ended',
      uplinkBytes: 23 * sizes.length,
      downlinkBytes: 22 * sizes.length,
    })
    expect(counters.snapshot()['icmp_pending']).toBe(0)
    icmp.close()
    icmp.close()
    await expect.poll(countSockets).toBe(sockets)
  })

  it('ICMP on loopback gives two clients with equal requests one answer each', async () => {
    const { icmp, connect, replies, ask, counters } = await start()
    const second = await connect('bob')
    for (let sequence = 0; sequence < 100; sequence += 1) {
      for (const client of [{ ask }, second]) {
        client.ask({ sequence, dataSize: 0 })
        client.ask({ sequence, dataSize: 1, destination: '::1' })
      }
    }
    await expect.poll(() => [replies.length, second.replies.length], { timeout: 10_000 }).toEqual([200, 200])
    expect([countDistinct(replies), countDistinct(second.replies)]).toEqual([200, 200])
    expect(counters.snapshot()['icmp_pending']).toBe(0)
    icmp.close()
  })

  it('ICMP on loopback stays sound under load', async () => {
    const { icmp, replies, ask, counters } = await start()
    const total = 3000
    let asked = 0
    const fill = (): number => {
      while (asked < total && asked - replies.length < 100) {
        ask({ id: asked >>> 8, sequence: asked & 0xff, destination: asked % 2 === 0 ? '127.0.0.1' : '::1' })
        asked += 1
      }
      return replies.length
    }
    await expect.poll(fill, { timeout: 20_000, interval: 1 }).toBe(total)
    expect(counters.snapshot()).toMatchObject({ icmp_requests: total, icmp_pending: 0 })
    icmp.close()
  })

  it('ICMP on loopback drops silently what the policy forbids, and what has no socket', async () => {
    const policy = {
      check: (address: string): void => {
        if (address.startsWith('127.')) throw new EndpointError('target_loopback', 'no')
      },
    }
    const { icmp, tunnel, ask, replies, counters } = await start({ policy, ipv6Available: false })
    ask({})
    ask({ destination: '::ffff:127.0.0.1' })
    ask({ destination: '::1' })
    await expect.poll(() => counters.snapshot()['icmp_drops{target_loopback}']).toBe(2)
    await expect.poll(() => counters.snapshot()['icmp_drops{no_socket}']).toBe(1)
    tunnel.client.end()
    await tunnel.ended
    expect(replies).toEqual([])
    icmp.close()
  })

  it('ICMP on loopback says which interface is missing, and leaves nothing open', async () => {
    const sockets = countSockets()
    const opening = openIcmp({ ...options(new Counters()), interfaceName: 'nowhere0' })
    await expect(opening).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('nowhere0'),
    })
    await expect.poll(countSockets).toBe(sockets)
  })

  it('ICMP without CAP_NET_RAW names the capability and how to give it', async () => {
    const script = `import('${join(import.meta.dirname, '../support/icmp-probe.ts')}')`
    const child = spawn('setpriv', [
      '--bounding-set=-net_raw',
      '--inh-caps=-net_raw',
      process.execPath,
      '-e',
      script,
    ])
    let errors = ''
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    await once(child, 'close')
    expect(errors).toContain('CAP_NET_RAW')
    expect(errors).toContain('setcap')
    expect(errors).toContain('AmbientCapabilities')
  })
})

interface Probe {
  ask(client: string, request: Record<string, unknown>): void
  /** The next reply to `client`. */
  next(client: string): Promise<IcmpReply>
  /** Ends it and gives its counters. */
  end(): Promise<Record<string, number>>
}

/** Runs the forwarder in namespace `here`. */
function startProbe(network: RoutedNetwork, interfaceName?: string): Probe {
  const script = join(import.meta.dirname, '../support/icmp-probe.ts')
  const args = [process.execPath, script, ...(interfaceName === undefined ? [] : [interfaceName])]
  const child = spawn('ip', ['netns', 'exec', network.here, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  const replies: { client: string; reply: IcmpReply }[] = []
  let counters: Record<string, number> = {}
  createInterface({ input: child.stdout }).on('line', (line) => {
    const message = JSON.parse(line) as
      { client: string; reply: IcmpReply } | { counters: Record<string, number> }
    if ('counters' in message) counters = message.counters
    else replies.push(message)
  })
  return {
    ask: (client, request) => {
      const defaults = { id: 7, sequence: 1, ttl: 64, dataSize: 56 }
      child.stdin.write(`${JSON.stringify({ client, ...defaults, ...request })}\n`)
    },
    async next(client) {
      const find = (): number => replies.findIndex((entry) => entry.client === client)
      await expect.poll(find, { timeout: 10_000, interval: 5 }).toBeGreaterThanOrEqual(0)
      const [entry] = replies.splice(find(), 1)
      if (entry === undefined) throw new Error('no reply')
      return entry.reply
    },
    async end() {
      const exited = once(child, 'close')
      child.stdin.end()
      expect(await exited).toEqual([0, null])
      expect(replies).toEqual([])
      return counters
    },
  }
}

describe.skipIf(obstacle !== undefined)(
  `across a router${obstacle === undefined ? '' : ` (skipped: ${obstacle})`}`,
  () => {
    let network: RoutedNetwork
    beforeAll(() => {
      network = createRoutedNetwork()
    })
    afterAll(() => network[Symbol.dispose]())

    const families = [
      {
        net: '10.91',
        there: '10.91.2.2',
        router: '10.91.1.1',
        nowhere: '10.99.0.1',
        exceeded: [11, 0],
        reply: 0,
        noRoute: [3, 0],
        silent: '10.91.2.9',
        unreachable: [3, 1],
        big: [3, 4],
      },
      {
        net: 'fd91',
        there: 'fd91:2::2',
        router: 'fd91:1::1',
        nowhere: 'fd99::1',
        exceeded: [3, 0],
        reply: 129,
        noRoute: [1, 0],
        silent: 'fd91:2::9',
        unreachable: [1, 3],
        big: [2, 0],
      },
    ] as const

    // Runs first, because Linux sends "no route" to a host at most once a second, counted from any earlier ICMP error.
    it.each(families)(
      'across a router of $net no route, no host and too big come back as errors',
      async (at) => {
        const probe = startProbe(network)
        for (const [destination, dataSize, [type, code]] of [
          [at.nowhere, 56, at.noRoute],
          [at.silent, 56, at.unreachable],
          [at.there, 1400, at.big],
        ] as const) {
          probe.ask('alice', { destination, dataSize })
          expect(await probe.next('alice')).toMatchObject({
            source: at.router,
            type,
            code,
            id: 7,
            sequence: 1,
          })
        }
        await probe.end()
      },
    )

    it.each(families)('across a router of $net a traceroute sees the router, then the target', async (at) => {
      const probe = startProbe(network, 'up0')
      for (const dataSize of [0, 2, 56]) {
        probe.ask('alice', { destination: at.there, sequence: 10, ttl: 1, dataSize })
        const [type, code] = at.exceeded
        expect(await probe.next('alice')).toMatchObject({
          id: 7,
          source: at.router,
          type,
          code,
          sequence: 10,
        })
        probe.ask('alice', { destination: at.there, sequence: 11, ttl: 2, dataSize })
        expect(await probe.next('alice')).toMatchObject({
          source: at.there,
          type: at.reply,
          code: 0,
          sequence: 11,
        })
      }
      expect((await probe.end())['icmp_pending']).toBe(0)
    })

    it.each(families)(
      'across a router of $net each of two clients gets the answer to its own request',
      async (at) => {
        const probe = startProbe(network)
        for (const dataSize of [56, 1, 0]) {
          probe.ask('alice', { destination: at.there, ttl: 1, dataSize })
          probe.ask('bob', { destination: at.there, ttl: 2, dataSize })
          expect(await probe.next('alice')).toMatchObject({ source: at.router, type: at.exceeded[0] })
          expect(await probe.next('bob')).toMatchObject({ source: at.there, type: at.reply })
        }
        await probe.end()
      },
    )
  },
)

expectNothingLeftOpen()
