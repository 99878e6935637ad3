/** What `TcpEgress` does with real sockets on loopback, and what it leaves behind: nothing. */
import { getEventListeners, once } from 'node:events'
import { execFile } from 'node:child_process'
import type { Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Counters } from '../../src/counters.ts'
import { AddressPolicy, type AddressPolicyOptions } from '../../src/egress/address-policy.ts'
import { EgressPolicy } from '../../src/egress/egress-policy.ts'
import type { DialPolicy, DialResolver } from '../../src/egress/dial-environment.ts'
import { TcpEgress } from '../../src/egress/tcp.ts'
import { OutboundRules } from '../../src/egress/outbound-rules.ts'
import { CheckForwarder } from '../../src/forward/check.ts'
import { TcpForwarder } from '../../src/forward/tcp.ts'
import { IdleMonitor } from '../../src/relay/idle-monitor.ts'
import { ReadPool } from '../../src/relay/read-pool.ts'
import { parseIpAddress, type IpAddress } from '../../src/wire/ip-address.ts'
import type { Target } from '../../src/wire/target.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { outboundRules, socketAddress, type OutboundText } from '../support/rules.ts'
import { SilentListener } from '../support/silent-listener.ts'
import { findClosedPort } from '../support/closed-port.ts'
import { openTunnel } from '../support/opened-tunnel.ts'
import { openEcho, openRequestResponder } from '../support/targets.ts'

const TIMEOUT_MS = 30_000
/** Smaller reads do not take a block of the pool. */
const SMALL_READ_BYTES = 4096
const loopback = policyOf({})
const anything: DialPolicy = { refusal: () => undefined, nameRefusal: () => undefined }
const internet = policyOf({ allowPrivate: false })

function policyOf(options: Partial<AddressPolicyOptions>, rules: OutboundText[] = []): EgressPolicy {
  return new EgressPolicy(
    new AddressPolicy({ allowPrivate: true, ipv6: true, exemptions: [], ...options }, { has: () => false }),
    new OutboundRules({ rules: outboundRules(...rules), defaultAction: 'allow' }),
  )
}

let clock: FakeClock
let counters: Counters
let abort: AbortController

beforeEach(() => {
  clock = new FakeClock()
  counters = new Counters()
  abort = new AbortController()
})
afterEach(async () => {
  await untilNoSockets()
  expect(clock.pending).toBe(0)
  expect(getEventListeners(abort.signal, 'abort')).toHaveLength(0)
})

function addresses(...texts: string[]): IpAddress[] {
  return texts.map((text) => parseIpAddress(text)).filter((each) => each !== undefined)
}

function resolvesTo(...texts: string[]): DialResolver {
  return { resolve: () => Promise.resolve(addresses(...texts)) }
}

const neverResolves: DialResolver = {
  resolve: (_host, { signal }) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
}

interface Given {
  policy?: DialPolicy
  resolver?: DialResolver
  mayDial?: () => boolean
}

/** Each has counters of its own: a gauge is registered once. */
function egress({
  policy = loopback,
  resolver = neverResolves,
  mayDial = () => true,
}: Given = {}): TcpEgress {
  counters = new Counters()
  return new TcpEgress({
    policy,
    resolver,
    connectTimeoutMs: TIMEOUT_MS,
    clock,
    counters,
    mayDial,
    memory: new ReadPool(),
  })
}

async function dial(target: Target, given: Given = {}): Promise<Socket> {
  const { io } = await egress(given).dial(target, { signal: abort.signal })
  return io
}

function literal(address: string, port: number): Target {
  return { kind: 'address', address, family: address.includes(':') ? 6 : 4, port }
}

function name(port: number): Target {
  return { kind: 'name', host: 'name.test', port }
}

async function codeOf(dialled: Promise<Socket>): Promise<string> {
  try {
    const socket = await dialled
    socket.destroy()
    return 'connected'
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}

/** Sockets that this process holds, in whatever state. */
function openSockets(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCPSocket')).length
}

async function untilNoSockets(): Promise<void> {
  while (openSockets() > 0) await new Promise(setImmediate)
}

describe('a connection', () => {
  it('a connection is half-open, without delay, and has an error listener', async () => {
    await using target = await openEcho()
    const socket = await dial(literal('127.0.0.1', target.port))
    expect(socket.allowHalfOpen).toBe(true)
    expect(socket.listenerCount('error')).toBe(1)
    expect(socket.listenerCount('connect')).toBe(0)
    socket.end('x')
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    expect(chunk.toString()).toBe('x')
    await once(socket, 'close')
  })

  it('a connection is read into memory that its end takes back', async () => {
    await using target = await openRequestResponder(() => Buffer.alloc(8_000_000, 1))
    const end = await egress().dial(literal('127.0.0.1', target.port), { signal: abort.signal })
    const blocks = new Set<ArrayBufferLike>()
    end.io.on('data', (chunk: Buffer) => {
      if (chunk.length > SMALL_READ_BYTES) blocks.add(chunk.buffer)
      end.recycle?.(chunk)
    })
    end.io.end()
    await once(end.io, 'close')
    expect(blocks.size).toBeGreaterThan(0)
    expect(blocks.size).toBeLessThan(10)
  })

  it('a connection goes to the first address that answers and leaves nothing of the others', async () => {
    await using target = await openEcho('127.0.0.3')
    const socket = await dial(name(target.port), {
      resolver: resolvesTo('::1', '127.0.0.2', '127.0.0.3', '127.0.0.4'),
    })
    expect(socket.remoteAddress).toBe('127.0.0.3')
    socket.destroy()
  })

  it('a connection reaches an IPv4-mapped literal over IPv4', async () => {
    await using target = await openEcho()
    const socket = await dial(literal('::ffff:127.0.0.1', target.port))
    expect(socket.remoteFamily).toBe('IPv4')
    socket.destroy()
  })
})

describe('an address that does not answer', () => {
  it('an address that does not answer gives way to the next after 250 ms', async () => {
    await using target = await openEcho()
    await using silent = await SilentListener.open('127.0.0.2', target.port)
    const held = openSockets()
    const dialled = dial(name(silent.port), { resolver: resolvesTo('127.0.0.2', '127.0.0.1') })
    while (clock.pending < 2) await new Promise(setImmediate)
    clock.advance(249)
    expect(openSockets()).toBe(held + 1)
    clock.advance(1)
    const socket = await dialled
    expect(socket.remoteAddress).toBe('127.0.0.1')
    // The loser is gone: only the two ends of this connection are left.
    while (openSockets() > held + 2) await new Promise(setImmediate)
    socket.destroy()
  })

  it('an address that does not answer is target_timeout in the end', async () => {
    await using silent = await SilentListener.open('127.0.0.1')
    const code = codeOf(dial(literal('127.0.0.1', silent.port)))
    clock.advance(TIMEOUT_MS)
    expect(await code).toBe('target_timeout')
  })

  it('an address that does not answer is dropped when the signal fires', async () => {
    await using silent = await SilentListener.open('127.0.0.1')
    const held = openSockets()
    const code = codeOf(dial(literal('127.0.0.1', silent.port)))
    while (openSockets() === held) await new Promise(setImmediate)
    abort.abort()
    expect(await code).toBe('target_refused')
    while (openSockets() > held) await new Promise(setImmediate)
  })
})

describe('failures', () => {
  it('a dial is target_refused when nothing listens on any address', async () => {
    const port = await findClosedPort()
    expect(await codeOf(dial(literal('127.0.0.1', port)))).toBe('target_refused')
    expect(await codeOf(dial(name(port), { resolver: resolvesTo('127.0.0.1', '127.0.0.2') }))).toBe(
      'target_refused',
    )
  })

  it('a dial is target_unreachable without a route', async () => {
    // On every machine the kernel has no route for TCP to a multicast address.
    expect(await codeOf(dial(literal('ff02::1', 9), { policy: anything }))).toBe('target_unreachable')
    const policy = policyOf({ ipv6: false })
    expect(await codeOf(dial(literal('::1', 9), { policy }))).toBe('target_unreachable')
  })

  it('a dial says refused rather than unreachable when both happened', async () => {
    const port = await findClosedPort()
    for (const texts of [
      ['ff02::1', '127.0.0.1'],
      ['127.0.0.1', 'ff02::1'],
    ]) {
      const given = { policy: anything, resolver: resolvesTo(...texts) }
      expect(await codeOf(dial(name(port), given))).toBe('target_refused')
    }
  })

  it('a dial is target_timeout when the name does not resolve in time', async () => {
    const code = codeOf(dial(name(443)))
    clock.advance(TIMEOUT_MS - 1)
    expect(clock.pending).toBe(1)
    clock.advance(1)
    expect(await code).toBe('target_timeout')
  })

  it('a dial gives up when the signal fires, before and during', async () => {
    const code = codeOf(dial(name(443)))
    abort.abort()
    expect(await code).toBe('target_refused')
    expect(await codeOf(dial(literal('127.0.0.1', 9)))).toBe('target_refused')
  })

  it('a dial passes on what the resolver says', async () => {
    const resolver = { resolve: () => Promise.reject(new Error('no such name')) }
    await expect(dial(name(443), { resolver })).rejects.toThrow('no such name')
  })
})

describe('policy and rules', () => {
  it.each([
    [['127.0.0.1'], 'target_loopback'],
    [['::1', '127.0.0.1'], 'target_loopback'],
    [['10.0.0.1'], 'target_private'],
    [['127.0.0.1', '10.0.0.1'], 'target_private'],
    [['::ffff:127.0.0.1'], 'target_loopback'],
    [['64:ff9b::7f00:1'], 'target_loopback'],
  ])('a dial of a name with %j is %s', async (texts, code) => {
    expect(await codeOf(dial(name(443), { policy: internet, resolver: resolvesTo(...texts) }))).toBe(code)
    const [first = ''] = texts
    if (texts.length === 1) expect(await codeOf(dial(literal(first, 443), { policy: internet }))).toBe(code)
  })

  it('a dial skips the addresses of a name that are forbidden', async () => {
    await using target = await openEcho()
    const exemptions = [socketAddress(`127.0.0.1:${target.port}`)]
    const policy = policyOf({ allowPrivate: false, exemptions })
    const socket = await dial(name(target.port), { policy, resolver: resolvesTo('127.0.0.2', '127.0.0.1') })
    expect(socket.remoteAddress).toBe('127.0.0.1')
    socket.destroy()
  })

  it('a dial denies by port before it resolves, and by address after', async () => {
    await using target = await openEcho()
    const policy = policyOf({}, [
      { destinationPort: '25', action: 'deny' },
      { destinationCidr: '127.0.0.2/32', action: 'deny' },
    ])
    expect(await codeOf(dial(name(25), { policy }))).toBe('target_denied')
    const denied = { policy, resolver: resolvesTo('127.0.0.2') }
    expect(await codeOf(dial(name(target.port), denied))).toBe('target_denied')
    const some = { policy, resolver: resolvesTo('127.0.0.2', '127.0.0.1') }
    expect(await codeOf(dial(name(target.port), some))).toBe('connected')
    expect(await codeOf(dial(literal('127.0.0.2', target.port), { policy }))).toBe('target_denied')
  })
})

describe('without free descriptors', () => {
  it('a dial that waited for its name takes no descriptor from the reserve', async () => {
    await using target = await openEcho()
    let free = true
    const resolver = {
      resolve: () => {
        free = false
        return Promise.resolve(addresses('127.0.0.1'))
      },
    }
    expect(await codeOf(dial(name(target.port), { resolver, mayDial: () => free }))).toBe('limit_exceeded')
    expect(counters.snapshot()).toMatchObject({ outbound_descriptors_exhausted: 1, outbound_tcp_sockets: 0 })
  })

  it('a second attempt takes no descriptor from the reserve, and the first goes on', async () => {
    await using target = await openEcho()
    await using silent = await SilentListener.open('127.0.0.2', target.port)
    const held = openSockets()
    let free = true
    const resolver = resolvesTo('127.0.0.2', '127.0.0.1')
    const code = codeOf(dial(name(silent.port), { resolver, mayDial: () => free }))
    while (clock.pending < 2) await new Promise(setImmediate)
    free = false
    clock.advance(250)
    expect(openSockets()).toBe(held + 1)
    clock.advance(TIMEOUT_MS - 250)
    expect(await code).toBe('target_timeout')
  })

  it('a dial whose first address refuses says that the second was not tried', async () => {
    const port = await findClosedPort()
    let asked = 0
    const resolver = resolvesTo('127.0.0.2', '127.0.0.1')
    // Once for the dial, once for the first attempt.
    expect(await codeOf(dial(name(port), { resolver, mayDial: () => ++asked <= 2 }))).toBe('limit_exceeded')
  })

  const DIAL_UNTIL_EXHAUSTED = `
import net from 'node:net'
import { once } from 'node:events'
import { systemClock as clock } from './src/clock.ts'
import { Counters } from './src/counters.ts'
import { TcpEgress } from './src/egress/tcp.ts'
import { ReadPool } from './src/relay/read-pool.ts'
const server = net.createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address()
const counters = new Counters()
const policy = { refusal: () => undefined }
const memory = new ReadPool()
const egress = new TcpEgress({ policy, resolver: {}, connectTimeoutMs: 5000, clock, counters, mayDial: () => true, memory })
const target = { kind: 'address', address: '127.0.0.1', family: 4, port }
const options = { signal: new AbortController().signal }
for (;;) {
  const code = await egress.dial(target, options).then(() => undefined, (error) => error.code)
  if (code === undefined) continue
  console.log(JSON.stringify({ code, counted: counters.snapshot() }))
  process.exit(0)
}`

  it('a dial without free descriptors is target_refused and counted, and the process goes on', async () => {
    const command = 'ulimit -n 64; exec "$0" --input-type=module -e "$1"'
    const { stdout } = await promisify(execFile)(
      'sh',
      ['-c', command, process.execPath, DIAL_UNTIL_EXHAUSTED],
      {
        cwd: `${import.meta.dirname}/../..`,
      },
    )
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'target_refused',
      counted: { outbound_descriptors_exhausted: 1 },
    })
  })
})

function forwarder(): TcpForwarder {
  const idleMonitor = new IdleMonitor(clock)
  return new TcpForwarder({
    dialer: egress(),
    idleTimeoutMs: TIMEOUT_MS,
    idleMonitor,
  })
}

async function untilSocketsClosed(): Promise<void> {
  while (counters.snapshot().outbound_tcp_sockets !== 0) await new Promise(setImmediate)
}

describe('the TCP forwarder', () => {
  it('the TCP forwarder relays between the stream and the target, and the egress counts what is open', async () => {
    await using target = await openRequestResponder((request) => Buffer.concat([request, request]))
    const tcp = forwarder()
    const tunnel = await openTunnel(tcp, literal('127.0.0.1', target.port))
    expect(counters.snapshot()).toEqual({ outbound_tcp_sockets: 1 })
    const [client, io] = duplexPair()
    const end = tunnel.run({ io, wasReset: false, reset: () => io.destroy() })
    client.end('twice')
    expect((await client.toArray()).join('')).toBe('twicetwice')
    expect(await end).toEqual({ reason: 'ended', uplinkBytes: 5, downlinkBytes: 10 })
    await untilSocketsClosed()
  })

  it('the TCP forwarder gives the target up when it does not run', async () => {
    await using target = await openEcho()
    const { tunnel } = await openTunnel(forwarder(), literal('127.0.0.1', target.port))
    tunnel.destroy()
    tunnel.destroy()
    await untilSocketsClosed()
  })

  it('the TCP forwarder rejects as the dialer does', async () => {
    const port = await findClosedPort()
    await expect(openTunnel(forwarder(), literal('127.0.0.1', port))).rejects.toMatchObject({
      code: 'target_refused',
    })
    await untilSocketsClosed()
  })
})

it('a health check ends at once', async () => {
  const { tunnel } = await openTunnel(new CheckForwarder(), undefined)
  expect(tunnel.endsAtOnce).toBe(true)
  tunnel.destroy()
})

expectNothingLeftOpen()
