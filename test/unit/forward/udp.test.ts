/** Flows of a `_udp2` stream: keys, limits, expiry and refusals, with sockets that only record and a fake clock. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { Counters } from '../../../src/counters.ts'
import { EndpointError } from '../../../src/errors.ts'
import { UdpForwarder, type UdpForwarderOptions } from '../../../src/forward/udp.ts'
import type { UdpHandlers } from '../../../src/contract/udp-socket.ts'
import type { UdpDialer } from '../../../src/forward/udp-flow.ts'
import {
  encodeAddressing,
  encodeUdpUplink,
  MAX_UPLINK_LENGTH,
  UdpDownlinkDecoder,
  type DownlinkDatagram,
} from '../../../src/wire/udp-frame.ts'
import { openDatagramTunnel } from '../../support/datagram-tunnel.ts'
import type { DatagramTunnel, DatagramTunnelOptions } from '../../support/datagram-tunnel.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { UDP_OPTIONS } from '../../support/room-options.ts'
import { OpenLedger, openTwoLanes } from '../../support/lane-share.ts'

interface FakeSocket {
  readonly destination: { address: string; port: number }
  readonly handlers: UdpHandlers
  readonly sent: string[]
  open: boolean
}

class FakeDialer implements UdpDialer {
  readonly sockets: FakeSocket[] = []
  refuse: Error | undefined
  asked = 0

  open(destination: { address: string; port: number }, handlers: UdpHandlers) {
    this.asked += 1
    if (this.refuse !== undefined) throw this.refuse
    const { address, port } = destination
    const socket: FakeSocket = { destination: { address, port }, handlers, sent: [], open: true }
    this.sockets.push(socket)
    return {
      send: (payload: Buffer) => void socket.sent.push(payload.toString()),
      close: () => {
        socket.open = false
      },
    }
  }

  get openCount(): number {
    return this.sockets.filter(({ open }) => open).length
  }

  socket(index: number): FakeSocket {
    const socket = this.sockets[index]
    if (socket === undefined) throw new Error(`no socket ${index}`)
    return socket
  }
}

const SOURCE = { address: '10.0.0.2', port: 5000 }
const TARGET = { address: '192.0.2.1', port: 443 }
const DNS = { address: '192.0.2.53', port: 53 }

function frame(payload: string, source = SOURCE, destination = TARGET, app = ''): Buffer {
  return encodeUdpUplink(encodeAddressing(source, destination), Buffer.from(payload), app)
}

/** A datagram whose payload is its port. */
const to = (port: number) => frame(`${port}`, SOURCE, { ...TARGET, port })

type StartOptions = Partial<UdpForwarderOptions> & Pick<DatagramTunnelOptions, 'privacy'>

async function start({ privacy = 'full', ...options }: StartOptions = {}, log = pino({ level: 'silent' })) {
  const dialer = new FakeDialer()
  const clock = new FakeClock()
  const counters = new Counters()
  const forwarder = new UdpForwarder({
    ...UDP_OPTIONS,
    dialer,
    clock,
    counters,
    slots: new OpenLedger(),
    idleTimeoutMs: 120_000,
    ...options,
  })
  const connect = async (user = 'alice') => {
    const tunnel = await openDatagramTunnel(forwarder, { user, log, privacy })
    const replies: DownlinkDatagram[] = []
    const decoder = new UdpDownlinkDecoder((datagram) => replies.push(datagram))
    tunnel.client.on('data', (chunk: Buffer) => decoder.push(chunk))
    return { tunnel, replies, send: (...frames: Buffer[]) => write(tunnel, frames) }
  }
  const countDrops = (reason: string) => counters.snapshot()[`udp_drops{${reason}}`] ?? 0
  return { dialer, clock, counters, drops: countDrops, connect, ...(await connect()) }
}

/** Writes in one chunk and waits until the endpoint has read it. */
async function write(tunnel: DatagramTunnel, frames: Buffer[]): Promise<void> {
  await new Promise<void>((resolve) => tunnel.client.write(Buffer.concat(frames), () => resolve()))
  await nextTurn()
}

describe('flows', () => {
  it('UDP flows are one per source and destination within a stream, also for source 0.0.0.0:0', async () => {
    const { dialer, send, connect } = await start()
    const zero = { address: '0.0.0.0', port: 0 }
    await send(frame('a'), frame('b'), frame('c', zero), frame('d', SOURCE, { ...TARGET, port: 444 }))
    const second = await connect()
    await second.send(frame('e'))
    expect(dialer.sockets.map(({ sent }) => sent)).toEqual([['a', 'b'], ['c'], ['d'], ['e']])
    expect(dialer.sockets.map(({ destination }) => destination.port)).toEqual([443, 443, 444, 443])
  })

  it("UDP flows answer from the destination to the client's source, as they were written", async () => {
    const { dialer, replies, send } = await start()
    const mapped = { address: '::ffff:10.0.0.9', port: 0 }
    await send(frame('a', { address: '0.0.0.0', port: 0 }), frame('b', mapped, { address: '::1', port: 9 }))
    dialer.socket(0).handlers.onMessage(Buffer.from('reply'))
    dialer.socket(1).handlers.onMessage(Buffer.alloc(0))
    await nextTurn()
    expect(replies).toMatchObject([
      { source: TARGET, destination: { address: '0.0.0.0', port: 0 }, payload: Buffer.from('reply') },
      { source: { address: '::1', port: 9 }, destination: mapped, payload: Buffer.alloc(0) },
    ])
  })

  it('UDP flows end when idle in both directions, and a later datagram opens a new one', async () => {
    const { dialer, clock, counters, send } = await start()
    await send(frame('a'), frame('b', SOURCE, { ...TARGET, port: 444 }))
    clock.advance(100_000)
    dialer.socket(1).handlers.onMessage(Buffer.from('still there'))
    clock.advance(21_000)
    expect(dialer.sockets.map((socket) => socket.open)).toEqual([false, true])
    await send(frame('c'))
    expect(dialer.socket(2).sent).toEqual(['c'])
    clock.advance(200_000)
    expect(dialer.openCount).toBe(0)
    expect(counters.snapshot()).toMatchObject({ udp_flows: 3, 'udp_flows_ended{idle}': 3 })
  })

  /**
   * Answers used to be counted against questions, and the flow ended when the numbers were equal: an answer that came
   * twice took the place of the other answer, which was then lost.
   */
  it('UDP flows to port 53 keep both answers of one port, also when the first comes twice', async () => {
    const { dialer, clock, replies, send } = await start()
    await send(frame('A?', SOURCE, DNS), frame('AAAA?', SOURCE, DNS))
    dialer.socket(0).handlers.onMessage(Buffer.from('A'))
    dialer.socket(0).handlers.onMessage(Buffer.from('A'))
    clock.advance(4000)
    expect(dialer.openCount).toBe(1)
    dialer.socket(0).handlers.onMessage(Buffer.from('AAAA'))
    await nextTurn()
    expect(replies.map(({ payload }) => payload.toString())).toEqual(['A', 'A', 'AAAA'])
  })

  it('UDP flows to port 53 end 5 s after the last answer, a later question opens another', async () => {
    const { dialer, clock, counters, send } = await start()
    await send(frame('A?', SOURCE, DNS))
    dialer.socket(0).handlers.onMessage(Buffer.from('A'))
    clock.advance(4500)
    await send(frame('AAAA?', SOURCE, DNS))
    clock.advance(20_000)
    expect(dialer.openCount).toBe(1)
    dialer.socket(0).handlers.onMessage(Buffer.from('AAAA'))
    clock.advance(7000)
    expect([dialer.openCount, counters.snapshot()['udp_flows_ended{answered}']]).toEqual([0, 1])
    await send(frame('again?', SOURCE, DNS))
    expect(dialer.socket(1).sent).toEqual(['again?'])
  })

  it('UDP flows to port 53 without an answer, and those to other ports, have the whole idle limit', async () => {
    const { dialer, clock, send } = await start()
    await send(frame('A?', SOURCE, DNS), frame('x', SOURCE, { ...TARGET, port: 5353 }))
    dialer.socket(1).handlers.onMessage(Buffer.from('y'))
    clock.advance(110_000)
    expect(dialer.openCount).toBe(2)
  })

  it('UDP flows end alone when their socket fails', async () => {
    const { dialer, counters, send } = await start()
    await send(frame('a'), frame('b', SOURCE, { ...TARGET, port: 444 }))
    dialer.socket(0).open = false
    dialer.socket(0).handlers.onError(new Error('ECONNREFUSED'))
    await send(frame('c'), frame('d', SOURCE, { ...TARGET, port: 444 }))
    expect(dialer.sockets.map(({ sent }) => sent)).toEqual([['a'], ['b', 'd'], ['c']])
    expect(counters.snapshot()['udp_flows_ended{error}']).toBe(1)
  })
})

describe('limits', () => {
  it('limits of UDP flows of a stream end the flow that was idle longest', async () => {
    const { dialer, clock, counters, send } = await start({ maxFlowsPerStream: 2 })
    await send(to(1))
    clock.advance(10)
    await send(to(2))
    clock.advance(10)
    await send(to(1))
    clock.advance(10)
    await send(to(3))
    expect(dialer.sockets.map(({ open: isOpen }) => isOpen)).toEqual([true, false, true])
    expect(counters.snapshot()['udp_flows_ended{evicted}']).toBe(1)
  })

  it('limits of UDP flows of a user and of all take nothing from other streams', async () => {
    const { dialer, send, connect, drops, tunnel } = await start({ maxFlowsPerUser: 2, maxFlows: 3 })
    await send(to(1), to(2))
    const same = await connect('alice')
    await same.send(to(3))
    expect([dialer.openCount, drops('flow_limit')]).toEqual([2, 1])
    const bob = await connect('bob')
    await bob.send(to(4), to(5))
    expect(dialer.sockets.map(({ open: isOpen }) => isOpen)).toEqual([true, true, false, true])
    tunnel.client.end()
    await tunnel.ended
    await same.send(to(3))
    expect(dialer.openCount).toBe(2)
  })

  it('limits of UDP flows hold over two lanes, and each stream replaces only its own', async () => {
    const [first, second] = openTwoLanes('alice', 'bob')
    const limits = { maxFlowsPerUser: 3, maxFlows: 4 }
    const one = await start({ ...limits, slots: first })
    const two = await start({ ...limits, slots: second })
    await one.send(to(1), to(2))
    await two.send(to(3), to(4))
    expect([one.dialer.openCount, two.dialer.openCount]).toEqual([2, 1])
    const bob = await two.connect('bob')
    await bob.send(to(5), to(6))
    expect(two.dialer.openCount).toBe(2)
    one.tunnel.client.end()
    await one.tunnel.ended
    await two.send(to(7), to(8))
    expect(two.dialer.openCount).toBe(4)
    expect(first.endpoint.total('flows')).toBe(4)
  })

  it('limits of UDP flows are not touched by a flow that is refused', async () => {
    const { dialer, send } = await start({ maxFlows: 2 })
    await send(frame('first'))
    dialer.refuse = new EndpointError('target_private', 'no')
    for (let port = 1; port < 20; port += 1) await send(frame('x', SOURCE, { ...TARGET, port }))
    dialer.refuse = undefined
    expect(dialer.openCount).toBe(1)
    await send(frame('y', SOURCE, { ...TARGET, port: 99 }))
    expect(dialer.openCount).toBe(2)
  })
})

describe('refused destinations', () => {
  it('refused destinations cost one question, are counted for each datagram, and are asked about again later', async () => {
    const { dialer, clock, drops, send } = await start()
    dialer.refuse = new EndpointError('target_loopback', 'no')
    await send(...Array.from({ length: 50 }, () => frame('x')))
    expect([dialer.asked, drops('target_loopback')]).toEqual([1, 50])
    await send(frame('other', { ...SOURCE, port: 1 }))
    expect(dialer.asked).toBe(2)
    dialer.refuse = undefined
    clock.advance(11_000)
    await send(frame('now'))
    expect(dialer.socket(0).sent).toEqual(['now'])
  })

  it('refused destinations are forgotten sooner when the reason passes by itself', async () => {
    const { dialer, clock, drops, send } = await start()
    dialer.refuse = new EndpointError('limit_exceeded', 'EMFILE')
    await send(frame('x'), frame('x'))
    dialer.refuse = undefined
    clock.advance(300)
    await send(frame('y'))
    expect([dialer.openCount, drops('limit_exceeded')]).toEqual([1, 2])
  })

  it('refused destinations are remembered within bounds', async () => {
    const { dialer, drops, send } = await start()
    dialer.refuse = new EndpointError('target_private', 'no')
    const frames = Array.from({ length: 300 }, (_, port) => frame('x', SOURCE, { ...TARGET, port: port + 1 }))
    await send(...frames, ...frames)
    expect(drops('target_private')).toBe(600)
    expect(dialer.asked).toBeGreaterThan(300)
  })
})

describe('the stream', () => {
  it('a UDP stream skips malformed frames exactly, of which an app name that is not UTF-8 is none', async () => {
    const { dialer, drops, send } = await start()
    const short = Buffer.from('00000003aabbcc', 'hex')
    const overrun = frame('x')
    overrun[40] = 200
    const name = frame('x', SOURCE, TARGET, 'app')
    name[41] = 0xff
    await send(short, frame('one'), overrun, name, frame('two'))
    expect(dialer.socket(0).sent).toEqual(['one', 'x', 'two'])
    expect([drops('too_short'), drops('app_name_overrun')]).toEqual([1, 1])
  })

  it('a UDP stream is reset by a length that cannot be believed, after the frames in front of it', async () => {
    const { dialer, tunnel, send } = await start()
    const long = Buffer.alloc(4)
    long.writeUInt32BE(MAX_UPLINK_LENGTH + 1)
    await send(frame('one'), long)
    expect(await tunnel.ended).toEqual({ reason: 'protocol_error', uplinkBytes: 3, downlinkBytes: 0 })
    expect(tunnel.resets).toEqual(['cancel'])
    expect([dialer.socket(0).sent, dialer.openCount]).toEqual([['one'], 0])
  })

  it('a UDP stream ends with the client, at once', async () => {
    const { dialer, clock, counters, tunnel, replies, send } = await start()
    await send(frame('four'))
    dialer.socket(0).handlers.onMessage(Buffer.from('before the end'))
    tunnel.client.end()
    expect(await tunnel.ended).toEqual({ reason: 'ended', uplinkBytes: 4, downlinkBytes: 14 })
    expect([dialer.openCount, clock.pending, replies.length]).toEqual([0, 0, 1])
    expect(counters.snapshot()).toMatchObject({
      'udp_datagrams{uplink}': 1,
      'udp_datagrams{downlink}': 1,
      'udp_bytes{uplink}': 4,
      'udp_bytes{downlink}': 14,
      'udp_flows_ended{stream_ended}': 1,
    })
  })

  it('a UDP stream ends when the client vanishes, and when the signal fires', async () => {
    const vanished = await start()
    await vanished.send(frame('a'))
    vanished.tunnel.endpoint.destroy(new Error('gone'))
    expect((await vanished.tunnel.ended).reason).toBe('client_reset')
    expect([vanished.dialer.openCount, vanished.clock.pending]).toEqual([0, 0])

    const aborted = await start()
    await aborted.send(frame('a'))
    aborted.tunnel.abort.abort()
    expect((await aborted.tunnel.ended).reason).toBe('aborted')
    expect(aborted.tunnel.resets).toEqual(['cancel'])
    expect([aborted.dialer.openCount, aborted.clock.pending]).toEqual([0, 0])
  })

  it('a UDP stream names applications in the log at trace level only, and targets only with full privacy', async () => {
    const lines: string[] = []
    const log = (level: string) => pino({ level }, { write: (line: string) => void lines.push(line) })
    const quiet = await start({}, log('debug'))
    await quiet.send(frame('x', SOURCE, TARGET, 'org.example.app'))
    expect(lines).toEqual([])
    const chatty = await start({ privacy: 'no-targets' }, log('trace'))
    await chatty.send(frame('x', SOURCE, TARGET, 'org.example.app'))
    expect(lines.join('')).toContain('org.example.app')
    expect(lines.join('')).not.toContain(TARGET.address)
  })

  it('a UDP flow that fails by a fault of ours is logged with its stack, and its target only with full privacy', async () => {
    for (const privacy of ['full', 'no-targets'] as const) {
      const lines: string[] = []
      const log = pino({ level: 'error' }, { write: (line: string) => void lines.push(line) })
      const { dialer, send, drops } = await start({ privacy }, log)
      dialer.refuse = new TypeError(`no socket for ${TARGET.address}`)
      await send(frame('x'))
      expect(drops('internal')).toBe(1)
      expect(lines).toHaveLength(1)
      expect(lines[0]).toContain('caused by: TypeError')
      expect(lines[0]).toMatch(/\bat .*udp\.test\.ts/)
      expect(lines[0]?.includes(TARGET.address)).toBe(privacy === 'full')
    }
  })
})
