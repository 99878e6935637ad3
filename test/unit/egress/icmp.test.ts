/** Whose answer is it? Matching, holding back, limits and expiry, with a socket that only records. */
import { randomFillSync } from 'node:crypto'
import { pino } from 'pino'
import { beforeEach, describe, expect, it } from 'vitest'
import { Counters } from '../../../src/counters.ts'
import { EndpointError, type ErrorCode } from '../../../src/errors.ts'
import { IcmpEgress, openFamilies, type IcmpOptions } from '../../../src/egress/icmp.ts'
import type { IcmpReply, IcmpRequest } from '../../../src/wire/icmp-frame.ts'
import { ipBytes } from '../../../src/wire/ip-address.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { icmpMessage, ipv4Packet, ipv6Packet, pseudoHeader } from '../../support/icmp-packets.ts'
import type { SystemCode } from '../../../src/egress/raw-socket.ts'
import { ICMP_OPTIONS } from '../../support/room-options.ts'
import { OpenLedger, openTwoLanes } from '../../support/lane-share.ts'

const TARGET = '9.9.9.9'
const TARGET6 = '2620:fe::fe'
const HERE = Buffer.from([10, 0, 0, 2])
const HERE6 = Buffer.from(ipBytes('2001:db8::2') ?? [])
const ROUTER = Buffer.from([10, 0, 0, 1])

function request(fields: Partial<IcmpRequest> = {}): IcmpRequest {
  return { id: 7, destination: TARGET, family: 4, sequence: 1, ttl: 64, dataSize: 56, ...fields }
}

function reply4(sent: Buffer, source = TARGET): Buffer {
  return ipv4Packet(Buffer.from(ipBytes(source) ?? []), HERE, icmpMessage(0, 0, sent.subarray(4)))
}

/** A time exceeded that quotes `quoteBytes` of the request. */
function exceeded4(sent: Buffer, quoteBytes = sent.length): Buffer {
  const quote = ipv4Packet(HERE, Buffer.from(ipBytes(TARGET) ?? []), sent).subarray(0, 20 + quoteBytes)
  return ipv4Packet(ROUTER, HERE, icmpMessage(11, 0, Buffer.concat([Buffer.alloc(4), quote])))
}

class Bench {
  readonly clock = new FakeClock()
  readonly counters = new Counters()
  readonly sent: { message: Buffer; destination: string; hops: number }[] = []
  readonly egress: IcmpEgress
  failure: SystemCode | undefined

  constructor(options: Partial<IcmpOptions> = {}) {
    this.egress = new IcmpEgress({
      ...ICMP_OPTIONS,
      slots: new OpenLedger(),
      ipv6Available: true,
      policy: { check: () => {} },
      fillRandom: (bytes) => void randomFillSync(bytes),
      clock: this.clock,
      counters: this.counters,
      log: pino({ level: 'silent' }),
      ...options,
    })
    for (const family of [4, 6] as const) {
      this.egress.use(family, {
        send: (message, destination, hops) => {
          if (this.failure !== undefined) return this.failure
          const address =
            destination.length === 4 ? destination.join('.') : Buffer.from(destination).toString('hex')
          this.sent.push({ message: Buffer.from(message), destination: address, hops })
          return undefined
        },
        close: () => {},
      })
    }
  }

  client(user = 'alice'): { replies: IcmpReply[]; send: (request: IcmpRequest) => void; close: () => void } {
    const replies: IcmpReply[] = []
    const channel = this.egress.open(user, (reply) => replies.push(reply))
    return { replies, send: (value) => channel.send(value), close: () => channel.close() }
  }

  message(index: number): Buffer {
    const sent = this.sent[index]
    if (sent === undefined) throw new Error(`nothing was sent as number ${index}`)
    return sent.message
  }

  count(name: string): number {
    return this.counters.snapshot()[name] ?? 0
  }

  /** Nothing pending, no timer set. */
  expectIdle(): void {
    expect(this.count('icmp_pending')).toBe(0)
    expect(this.clock.pending).toBe(0)
  }
}

let bench: Bench
beforeEach(() => {
  bench = new Bench()
})

describe('one request', () => {
  it('an ICMP request goes out with its id, sequence and TTL, and its reply comes back', () => {
    const client = bench.client()
    client.send(request({ id: 0xffff, sequence: 0x0102, ttl: 3, dataSize: 5 }))
    expect(bench.sent).toMatchObject([{ destination: TARGET, hops: 3 }])
    expect(bench.message(0).readUInt16BE(4)).toBe(0xffff)
    expect(bench.message(0).readUInt16BE(6)).toBe(0x0102)
    expect(bench.message(0).length).toBe(13)
    bench.egress.receive(4, reply4(bench.message(0)), TARGET)
    expect(client.replies).toEqual([
      { id: 0xffff, source: TARGET, family: 4, type: 0, code: 0, sequence: 0x0102 },
    ])
    bench.expectIdle()
  })

  it('an ICMP request has one answer: a duplicate is dropped', () => {
    const client = bench.client()
    client.send(request())
    bench.egress.receive(4, reply4(bench.message(0)), TARGET)
    bench.egress.receive(4, reply4(bench.message(0)), TARGET)
    expect(client.replies.length).toBe(1)
  })

  it('an ICMP request is answered only by its own payload, from its own target', () => {
    const client = bench.client()
    client.send(request())
    const message = bench.message(0)
    const altered = Buffer.from(message)
    altered[20] = (altered[20] ?? 0) ^ 1
    bench.egress.receive(4, reply4(altered), TARGET)
    bench.egress.receive(4, reply4(message.subarray(0, 40)), TARGET)
    bench.egress.receive(4, reply4(message, '9.9.9.8'), '9.9.9.8')
    expect(client.replies).toEqual([])
    bench.egress.receive(4, reply4(message), TARGET)
    expect(client.replies.length).toBe(1)
  })

  it('an ICMP request is answered by an error that names the router, down to eight quoted bytes', () => {
    for (const quoteBytes of [8, 9, 11, 12, 64]) {
      const client = bench.client()
      client.send(request())
      bench.egress.receive(4, exceeded4(bench.message(bench.sent.length - 1), quoteBytes), '10.0.0.1')
      expect(client.replies).toEqual([
        { id: 7, source: '10.0.0.1', family: 4, type: 11, code: 0, sequence: 1 },
      ])
    }
    bench.expectIdle()
  })

  it('an ICMP request to an IPv4-mapped address goes over IPv4 and is answered in the form it was written', () => {
    const client = bench.client()
    client.send(request({ destination: '::ffff:9.9.9.9', family: 6 }))
    expect(bench.sent[0]?.destination).toBe(TARGET)
    bench.egress.receive(4, reply4(bench.message(0)), TARGET)
    expect(client.replies).toMatchObject([{ source: '::ffff:9.9.9.9', family: 6 }])
  })

  it('an ICMP request over IPv6 is known by the checksum that the kernel put into it', () => {
    const client = bench.client()
    client.send(request({ destination: TARGET6, family: 6, dataSize: 2 }))
    const there = Buffer.from(ipBytes(TARGET6) ?? [])
    const sent = bench.message(0)
    const onWire = icmpMessage(128, 0, sent.subarray(4), pseudoHeader(HERE6, there, sent.length))
    const error = (quoted: Buffer): Buffer =>
      icmpMessage(3, 0, Buffer.concat([Buffer.alloc(4), ipv6Packet(HERE6, there, quoted).subarray(0, 48)]))
    const other = Buffer.from(onWire)
    other.writeUInt16BE(other.readUInt16BE(2) ^ 0x10, 2)
    bench.egress.receive(6, error(other), 'fe80::1%eth0')
    expect(client.replies).toEqual([])
    bench.egress.receive(6, error(onWire), 'fe80::1%eth0')
    expect(client.replies).toMatchObject([{ source: 'fe80::1', type: 3, family: 6 }])
    bench.expectIdle()
  })
})

describe('equal requests of two clients', () => {
  it.each([1, 2, 4, 56])(
    'equal requests of two clients with %i bytes are told apart, also when the payload is not quoted',
    (dataSize) => {
      const [one, two] = [bench.client('alice'), bench.client('bob')]
      for (let round = 0; round < 200; round += 1) {
        one.send(request({ dataSize }))
        two.send(request({ dataSize }))
        const second = bench.message(bench.sent.length - 1)
        const first = bench.message(bench.sent.length - 2)
        bench.egress.receive(4, exceeded4(second, 8), '10.0.0.1')
        expect([one.replies.length, two.replies.length]).toEqual([round, round + 1])
        bench.egress.receive(4, reply4(first), TARGET)
        expect([one.replies.length, two.replies.length]).toEqual([round + 1, round + 1])
      }
      bench.expectIdle()
    },
  )

  it('equal requests of two clients without payload take turns', () => {
    const [one, two] = [bench.client('alice'), bench.client('bob')]
    one.send(request({ dataSize: 0 }))
    two.send(request({ dataSize: 0 }))
    expect(bench.sent.length).toBe(1)
    bench.egress.receive(4, reply4(bench.message(0)), TARGET)
    expect([one.replies.length, two.replies.length, bench.sent.length]).toEqual([1, 0, 2])
    bench.egress.receive(4, reply4(bench.message(1)), TARGET)
    expect([one.replies.length, two.replies.length]).toEqual([1, 1])
    bench.expectIdle()
  })

  it('equal requests of two clients without payload go on when the first is not answered, and not for ever', () => {
    const [one, two, three] = [bench.client('alice'), bench.client('bob'), bench.client('carol')]
    one.send(request({ dataSize: 0 }))
    bench.clock.advance(2000)
    two.send(request({ dataSize: 0 }))
    three.send(request({ dataSize: 0 }))
    bench.clock.advance(1400)
    expect(bench.sent.length).toBe(2)
    bench.clock.advance(2000)
    expect(bench.sent.length).toBe(2)
    expect([bench.count('icmp_drops{unanswered}'), bench.count('icmp_drops{held}')]).toEqual([2, 1])
    expect([one, two, three].flatMap(({ replies }) => replies)).toEqual([])
    bench.expectIdle()
  })

  it('equal requests of two clients keep the turn of a client that has gone, so that nobody gets its answer', () => {
    const [one, two] = [bench.client('alice'), bench.client('bob')]
    one.send(request({ dataSize: 0 }))
    one.close()
    two.send(request({ dataSize: 0 }))
    bench.egress.receive(4, reply4(bench.message(0)), TARGET)
    expect([one.replies.length, two.replies.length, bench.sent.length]).toEqual([0, 0, 2])
  })
})

describe('what is not sent', () => {
  it('what is not sent is counted by reason', () => {
    const client = bench.client()
    client.send(request({ ttl: 0 }))
    client.send(request({ dataSize: 65_508 }))
    bench.failure = 'ENETUNREACH'
    client.send(request())
    expect(bench.counters.snapshot()).toMatchObject({
      'icmp_drops{ttl}': 1,
      'icmp_drops{too_long}': 1,
      'icmp_drops{ENETUNREACH}': 1,
    })
    expect(bench.sent).toEqual([])
    bench.expectIdle()
  })

  it('what is not sent includes what the policy forbids, judged by the address that would be used', () => {
    const asked: string[] = []
    const strict = new Bench({
      policy: {
        check: (address) => {
          asked.push(address)
          throw new EndpointError('target_private', 'no')
        },
      },
    })
    const client = strict.client()
    client.send(request({ destination: '10.0.0.1' }))
    client.send(request({ destination: '::ffff:10.0.0.1', family: 6 }))
    expect(asked).toEqual(['10.0.0.1', '10.0.0.1'])
    expect(strict.count('icmp_drops{target_private}')).toBe(2)
    strict.expectIdle()
  })

  it('what is not sent includes what is beyond a limit over two lanes', () => {
    const limits = { maxPending: 8, maxPendingPerUser: 5 }
    const lanes = openTwoLanes('alice', 'bob').map((slots) => new Bench({ ...limits, slots }))
    for (const lane of lanes)
      for (let sequence = 0; sequence < 4; sequence += 1) lane.client('alice').send(request({ sequence }))
    for (const lane of lanes)
      for (let sequence = 4; sequence < 8; sequence += 1) lane.client('bob').send(request({ sequence }))
    const sum = (name: string): number => lanes.reduce((count, lane) => count + lane.count(name), 0)
    expect([sum('icmp_requests'), sum('icmp_drops{user_limit}'), sum('icmp_drops{limit}')]).toEqual([8, 3, 5])
    for (const lane of lanes) lane.clock.advance(4000)
    for (const lane of lanes) lane.client('bob').send(request({ sequence: 9 }))
    expect(sum('icmp_requests')).toBe(10)
  })

  it('what is not sent includes what is beyond the limits of a user, of all, of a group', () => {
    const small = new Bench({ maxPending: 80, maxPendingPerUser: 70 })
    const [one, two] = [small.client('alice'), small.client('bob')]
    for (let sequence = 0; sequence < 100; sequence += 1) one.send(request({ sequence }))
    expect(small.count('icmp_drops{user_limit}')).toBe(30)
    for (let sequence = 0; sequence < 100; sequence += 1) two.send(request({ sequence }))
    expect(small.count('icmp_drops{limit}')).toBe(90)
    small.clock.advance(4000)
    for (let count = 0; count < 70; count += 1) one.send(request())
    expect(small.count('icmp_drops{ambiguous}')).toBe(6)
    small.clock.advance(4000)
    small.expectIdle()
  })

  it('what is not sent includes IPv6 when there is no socket for it', () => {
    const only4 = new IcmpEgress({
      ...ICMP_OPTIONS,
      slots: new OpenLedger(),
      ipv6Available: false,
      policy: { check: () => {} },
      fillRandom: () => {},
      clock: bench.clock,
      counters: new Counters(),
      log: pino({ level: 'silent' }),
    })
    only4.open('alice', () => {}).send(request({ destination: TARGET6, family: 6 }))
    expect(bench.clock.pending).toBe(0)
  })
})

/** A kernel without IPv4 used to end the attempt: IPv6 was never tried. */
describe('address families that the kernel lacks', () => {
  function openWithout(lacking: readonly (4 | 6)[], ipv6Available = true, code: ErrorCode = 'unsupported') {
    const opened: number[] = []
    const closed: number[] = []
    const warnings: string[] = []
    const egress = () =>
      openFamilies(
        {
          ...ICMP_OPTIONS,
          slots: new OpenLedger(),
          ipv6Available,
          policy: { check: () => {} },
          fillRandom: (bytes) => void randomFillSync(bytes),
          clock: new FakeClock(),
          counters: new Counters(),
          log: pino({ level: 'warn' }, { write: (line: string) => void warnings.push(line) }),
        },
        ({ family }) => {
          if (lacking.includes(family)) throw new EndpointError(code, `no IPv${family}`)
          opened.push(family)
          return { send: () => undefined, close: () => void closed.push(family) }
        },
      )
    return { egress, opened, closed, warnings }
  }

  it.each([
    { lacking: [4] as const, left: [6] },
    { lacking: [6] as const, left: [4] },
    { lacking: [] as const, left: [4, 6] },
  ])('address families that the kernel lacks $lacking: $left serves', ({ lacking, left }) => {
    const { egress, opened, warnings } = openWithout(lacking)
    egress().close()
    expect([opened, warnings.length]).toEqual([left, lacking.length])
  })

  it('address families that the kernel lacks are an error when none is left', () => {
    expect(openWithout([4, 6]).egress).toThrow(expect.objectContaining({ code: 'unsupported' }))
    expect(openWithout([4], false).egress).toThrow(expect.objectContaining({ code: 'unsupported' }))
  })

  it('address families that the kernel lacks are not what any other failure is taken for', () => {
    const { egress, opened, closed } = openWithout([6], true, 'config_invalid')
    expect(egress).toThrow(expect.objectContaining({ code: 'config_invalid' }))
    expect([opened, closed]).toEqual([[4], [4]])
  })
})
