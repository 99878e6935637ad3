/**
 * UDP through the forwarder and real sockets: both families, failing targets, slow clients, and no socket left over.
 */
import { execFile } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, connect as connectHttp2, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { EndpointError } from '../../src/errors.ts'
import type { AddressCheck } from '../../src/egress/egress-policy.ts'
import { UdpEgress } from '../../src/egress/udp.ts'
import { UdpForwarder, type UdpForwarderOptions } from '../../src/forward/udp.ts'
import {
  encodeAddressing,
  encodeUdpUplink,
  udpReplySize,
  UdpDownlinkDecoder,
  type DownlinkDatagram,
} from '../../src/wire/udp-frame.ts'
import { findClosedPort } from '../support/closed-port.ts'
import { openDatagramTunnel } from '../support/datagram-tunnel.ts'
import { openTunnel } from '../support/opened-tunnel.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { countSockets } from '../support/open-descriptors.ts'
import { UDP_EGRESS_OPTIONS, UDP_OPTIONS } from '../support/room-options.ts'
import { OpenLedger } from '../support/lane-share.ts'

const SOURCE = { address: '10.0.0.2', port: 5000 }

interface Target {
  readonly address: string
  readonly port: number
}

let socketsBefore: number
const servers: Socket[] = []
beforeEach(() => {
  socketsBefore = countSockets()
})
/** The leak check of every test: no socket of a flow is left. */
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => closed(server)))
  await expect.poll(countSockets, { timeout: 5000 }).toBe(socketsBefore)
})

async function closed(server: Socket): Promise<void> {
  const done = once(server, 'close')
  server.close()
  await done
}

/** Answers each datagram with what `answer` returns for it. */
async function serve(
  address: string,
  answer: (payload: Buffer) => Buffer[] = (payload) => [payload],
  port = 0,
): Promise<Target> {
  const server = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  servers.push(server)
  server.on('message', (payload, from) => {
    for (const reply of answer(payload)) server.send(reply, from.port, from.address)
  })
  server.bind(port, address)
  await once(server, 'listening')
  return { address, port: server.address().port }
}

function frame(target: Target, payload: string | Buffer, source = SOURCE): Buffer {
  return encodeUdpUplink(encodeAddressing(source, target), Buffer.from(payload))
}

interface SetUp extends Partial<UdpForwarderOptions> {
  readonly policy?: AddressCheck
  readonly ipv6Available?: boolean
  readonly highWaterMark?: number
}

function makeForwarder(options: SetUp = {}): { forwarder: UdpForwarder; counters: Counters } {
  const { policy = { check: () => {} }, ipv6Available = true, ...rest } = options
  const counters = new Counters()
  const dialer = new UdpEgress({ ...UDP_EGRESS_OPTIONS, policy, ipv6Available, counters })
  const forwarder = new UdpForwarder({
    ...UDP_OPTIONS,
    dialer,
    counters,
    clock: systemClock,
    slots: new OpenLedger(),
    idleTimeoutMs: 120_000,
    ...rest,
  })
  return { forwarder, counters }
}

async function openStream(options: SetUp = {}) {
  const { forwarder, counters } = makeForwarder(options)
  const { highWaterMark } = options
  const tunnel = await openDatagramTunnel(forwarder, highWaterMark === undefined ? {} : { highWaterMark })
  return {
    ...tunnel,
    replies: collect(tunnel.client),
    stat: (name: string) => counters.snapshot()[name] ?? 0,
    async end() {
      tunnel.client.resume()
      tunnel.client.end()
      const end = await tunnel.ended
      expect(counters.snapshot()['outbound_udp_sockets']).toBe(0)
      return end
    },
  }
}

/** Replies as they come, and a wait for the next. */
function collect(client: Duplex): {
  all: DownlinkDatagram[]
  next(count?: number): Promise<DownlinkDatagram[]>
} {
  const all: DownlinkDatagram[] = []
  let taken = 0
  const decoder = new UdpDownlinkDecoder((datagram) => all.push(datagram))
  client.on('data', (chunk: Buffer) => decoder.push(chunk))
  return {
    all,
    async next(count = 1) {
      await expect
        .poll(() => all.length, { timeout: 10_000, interval: 5 })
        .toBeGreaterThanOrEqual(taken + count)
      taken += count
      return all.slice(taken - count, taken)
    },
  }
}

describe('a flow', () => {
  it.each(['127.0.0.1', '::1'])(
    'a UDP flow carries datagrams to %s and back, empty ones too',
    async (address) => {
      const target = await serve(address)
      const stream = await openStream()
      for (const payload of ['one', '', 'x'.repeat(9000)]) {
        stream.client.write(frame(target, payload))
        const [reply] = await stream.replies.next()
        expect(reply).toMatchObject({ source: target, destination: SOURCE })
        expect(reply?.payload.toString()).toBe(payload)
      }
      expect(stream.stat('outbound_udp_sockets')).toBe(1)
      expect(await stream.end()).toEqual({ reason: 'ended', uplinkBytes: 9003, downlinkBytes: 9003 })
    },
  )

  it('a UDP flow reaches an IPv4-mapped address over IPv4 and answers in the form it was asked in', async () => {
    const { port } = await serve('127.0.0.1')
    const stream = await openStream({ ipv6Available: false })
    const mapped = { address: '::ffff:127.0.0.1', port }
    stream.client.write(frame(mapped, 'mapped', { address: '0.0.0.0', port: 0 }))
    const [reply] = await stream.replies.next()
    expect(reply).toMatchObject({ source: mapped, destination: { address: '0.0.0.0', port: 0 } })
    await stream.end()
  })

  it('a UDP flow keeps the order of datagrams sent before its socket stood', async () => {
    const target = await serve('127.0.0.1')
    const stream = await openStream()
    const payloads = Array.from({ length: 40 }, (_, index) => `${index}`)
    stream.client.write(Buffer.concat(payloads.map((payload) => frame(target, payload))))
    const replies = await stream.replies.next(payloads.length)
    expect(replies.map(({ payload }) => payload.toString())).toEqual(payloads)
    await stream.end()
  })

  it('a UDP flow hears only its own destination', async () => {
    const target = await serve('127.0.0.1', () => [])
    const stranger = createSocket('udp4')
    servers.push(stranger)
    stranger.bind(0, '127.0.0.1')
    const [server] = servers
    const seen = once(server ?? stranger, 'message')
    const stream = await openStream()
    stream.client.write(frame(target, 'hello'))
    const [, from] = (await seen) as [Buffer, { port: number }]
    stranger.send('intruder', from.port, '127.0.0.1')
    server?.send('answer', from.port, '127.0.0.1')
    const [reply] = await stream.replies.next()
    expect(reply?.payload.toString()).toBe('answer')
    await stream.end()
  })

  it('a UDP flow ends alone when nobody listens at its port, and a later datagram opens a new one', async () => {
    const alive = await serve('127.0.0.1')
    const dead = { address: '127.0.0.1', port: await findClosedPort() }
    const stream = await openStream()
    stream.client.write(Buffer.concat([frame(alive, 'a'), frame(dead, 'b')]))
    await stream.replies.next()
    await expect.poll(() => stream.stat('udp_flows_ended{error}')).toBe(1)
    expect(stream.stat('outbound_udp_sockets')).toBe(1)
    await serve('127.0.0.1', undefined, dead.port)
    stream.client.write(Buffer.concat([frame(dead, 'c'), frame(alive, 'd')]))
    const replies = await stream.replies.next(2)
    expect(replies.map(({ payload }) => payload.toString()).toSorted()).toEqual(['c', 'd'])
    await stream.end()
  })

  it('a UDP flow ends alone when the system refuses a datagram', async () => {
    const target = await serve('127.0.0.1')
    const stream = await openStream()
    // The limited broadcast address may not be used without SO_BROADCAST.
    stream.client.write(
      Buffer.concat([frame({ address: '255.255.255.255', port: 9 }, 'x'), frame(target, 'y')]),
    )
    await stream.replies.next()
    await expect.poll(() => stream.stat('udp_flows_ended{error}')).toBe(1)
    await stream.end()
  })

  it('a UDP flow to a forbidden destination is never opened and hurts nothing', async () => {
    const target = await serve('127.0.0.1')
    const judged: string[] = []
    const policy: AddressCheck = {
      check: (address) => {
        judged.push(address)
        if (address !== '127.0.0.1') throw new EndpointError('target_private', 'no')
      },
    }
    const stream = await openStream({ policy, ipv6Available: false })
    const blocked = frame({ address: '::ffff:10.1.2.3', port: target.port }, 'x')
    const six = frame({ address: '2001:db8::1', port: target.port }, 'x')
    const zero = frame({ address: '127.0.0.1', port: 0 }, 'x')
    stream.client.write(Buffer.concat([blocked, blocked, six, zero, frame(target, 'y'), blocked]))
    await stream.replies.next()
    expect(judged).toEqual(['10.1.2.3', '127.0.0.1'])
    expect(stream.stat('udp_drops{target_private}')).toBe(3)
    expect(stream.stat('udp_drops{target_unreachable}')).toBe(1)
    expect(stream.stat('udp_drops{target_refused}')).toBe(1)
    await stream.end()
  })
})

describe('sockets', () => {
  it('sockets of flows are all freed when flows expire, and again when the stream ends', async () => {
    const target = await serve('127.0.0.1')
    const clock: Clock & FakeClock = new FakeClock()
    const stream = await openStream({ clock, idleTimeoutMs: 30_000 })
    const before = countSockets()
    const burst = (): Buffer =>
      Buffer.concat(Array.from({ length: 100 }, (_, port) => frame(target, 'x', { ...SOURCE, port })))
    stream.client.write(burst())
    await stream.replies.next(100)
    expect(countSockets()).toBe(before + 100)
    clock.advance(40_000)
    await expect.poll(countSockets).toBe(before)
    expect(stream.stat('udp_flows_ended{idle}')).toBe(100)
    stream.client.write(burst())
    await stream.replies.next(100)
    await stream.end()
    expect(clock.pending).toBe(0)
  })

  it('sockets of flows are freed when the client vanishes', async () => {
    const target = await serve('127.0.0.1')
    const stream = await openStream()
    stream.client.write(frame(target, 'x'))
    await stream.replies.next()
    stream.endpoint.destroy(new Error('connection lost'))
    expect((await stream.ended).reason).toBe('client_reset')
    expect(stream.stat('outbound_udp_sockets')).toBe(0)
  })

  it('running out of sockets costs datagrams, not the stream or the process', async () => {
    const script = join(import.meta.dirname, '../support/udp-exhaustion.ts')
    const command = `ulimit -n 100 && exec "${process.execPath}" "${script}"`
    const { stdout } = await promisify(execFile)('sh', ['-c', command])
    const { during, after, reason } = JSON.parse(stdout) as {
      during: Record<string, number>
      after: Record<string, number>
      reason: string
    }
    expect(during['udp_drops{limit_exceeded}']).toBeGreaterThan(50)
    expect(during['outbound_udp_sockets']).toBeGreaterThan(10)
    expect(after['outbound_udp_sockets']).toBe(0)
    expect(reason).toBe('ended')
  })
})

describe('a client that does not read', () => {
  it('a client that does not read loses whole datagrams beyond the bound and nothing else', async () => {
    const queueBytes = 32 * 1024
    const answers = Array.from({ length: 40 }, (_, index) => Buffer.alloc(1000, index))
    const target = await serve('127.0.0.1', () => answers)
    const stream = await openStream({ queueBytes, highWaterMark: 16 * 1024 })
    stream.client.pause()
    const size = udpReplySize(1000)
    const floodUntilDropped = (): number => {
      stream.client.write(frame(target, 'flood'))
      return stream.stat('udp_drops{queue_bytes}')
    }
    await expect.poll(floodUntilDropped, { timeout: 10_000 }).toBeGreaterThan(0)
    const buffered = stream.endpoint.writableLength + stream.client.readableLength
    expect(buffered).toBeLessThan(4 * 16 * 1024)
    stream.client.resume()
    const received = await stream.replies.next(Math.floor(queueBytes / size))
    expect(received.every(({ payload }) => payload.length === 1000 && new Set(payload).size === 1)).toBe(true)
    const end = await stream.end()
    expect(end.downlinkBytes).toBe(stream.replies.all.length * 1000)
  })
})

/** Sizes of the DATA frames that the client sees when the target answers with `answer`. */
async function dataFrames(answer: (payload: Buffer) => Buffer[], total: number): Promise<number[]> {
  const target = await serve('127.0.0.1', answer)
  const { forwarder } = makeForwarder()
  const server = createServer()
  const ended = Promise.withResolvers<unknown>()
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': 200 })
    const run = async (): Promise<unknown> => {
      const tunnel = await openTunnel(forwarder, undefined)
      return tunnel.run({ io: stream, wasReset: false, reset: () => stream.close() })
    }
    run().then(ended.resolve, ended.reject)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const stream = session.request({ ':method': 'CONNECT', ':authority': '_udp2' }, { endStream: false })
  const sizes: number[] = []
  stream.on('data', (chunk: Buffer) => sizes.push(chunk.length))
  stream.write(frame(target, 'x'))
  await expect.poll(() => sizes.reduce((sum, size) => sum + size, 0), { timeout: 10_000 }).toBe(total)
  stream.end()
  await ended.promise
  session.close()
  server.close()
  await once(server, 'close')
  return sizes
}

describe('over HTTP/2', () => {
  it('over HTTP/2, one reply alone is exactly one DATA frame', async () => {
    expect(await dataFrames(() => [Buffer.from('x')], 41)).toEqual([41])
  })

  it('over HTTP/2, a DATA frame holds whole replies', async () => {
    const size = udpReplySize(500)
    const answers = Array.from({ length: 100 }, () => Buffer.alloc(500))
    const sizes = await dataFrames(() => answers, size * 100)
    expect(sizes.every((bytes) => bytes % size === 0)).toBe(true)
    expect(sizes.length).toBeLessThan(100)
  })
})

expectNothingLeftOpen()
