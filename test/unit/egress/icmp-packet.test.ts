/** Echo packets outside the tunnel: what we send, and which answers we understand. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createEchoRequest,
  echoPayload,
  foldSum,
  onesSum,
  parseIcmpPacket,
  parseIcmpv6Message,
  sealEchoRequest,
} from '../../../src/egress/icmp-packet.ts'
import {
  checksum,
  echoRest,
  icmpMessage,
  ipv4Packet,
  ipv6Packet,
  pseudoHeader,
} from '../../support/icmp-packets.ts'

const HERE = Buffer.from([10, 0, 0, 2])
const THERE = Buffer.from([9, 9, 9, 9])
const ROUTER = Buffer.from([10, 0, 0, 1])
const HERE6 = Buffer.from('20010db8000000000000000000000002', 'hex')
const THERE6 = Buffer.from('20014860486000000000000000008888', 'hex')
const PAYLOAD = Buffer.from('culvert carries a stream under a road')

function request6(payload: Buffer): Buffer {
  const rest = echoRest(0x1234, 7, payload)
  return icmpMessage(128, 0, rest, pseudoHeader(HERE6, THERE6, rest.length + 4))
}

describe('echo request', () => {
  it('an echo request has the checksum of RFC 1071 over IPv4', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xffff }),
        fc.integer({ min: 0, max: 0xffff }),
        fc.uint8Array({ maxLength: 200 }),
        (id, sequence, bytes) => {
          const payload = Buffer.from(bytes)
          const message = createEchoRequest(4, id, sequence, payload.length)
          payload.copy(echoPayload(message))
          sealEchoRequest(4, message)
          expect(message.equals(icmpMessage(8, 0, echoRest(id, sequence, payload)))).toBe(true)
        },
      ),
    )
  })

  it('an echo request folds the carry of a long payload more than once', () => {
    const payload = Buffer.alloc(65507, 0xff)
    expect(~onesSum(payload) & 0xffff).toBe(checksum(payload) === 0 ? 0xffff : checksum(payload))
    expect(foldSum(0xffff_ffff)).toBe(0)
    expect(foldSum(0x1_ffff)).toBe(1)
  })

  it('an echo request leaves the checksum to the kernel over IPv6', () => {
    const message = createEchoRequest(6, 1, 2, 4)
    sealEchoRequest(6, message)
    expect(message.toString('hex')).toBe('800000000001000200000000')
  })
})

describe('IPv4 answers', () => {
  const request = icmpMessage(8, 0, echoRest(0x1234, 7, PAYLOAD))
  const quote = ipv4Packet(HERE, THERE, request)
  const error = (type: number, code: number, quoted: Buffer, outerOptions = Buffer.alloc(0)): Buffer =>
    ipv4Packet(ROUTER, HERE, icmpMessage(type, code, Buffer.concat([Buffer.alloc(4), quoted])), outerOptions)

  it('the reader of IPv4 answers reads a reply, with and without IP options', () => {
    const reply = icmpMessage(0, 0, echoRest(0x1234, 7, PAYLOAD))
    for (const options of [Buffer.alloc(0), Buffer.alloc(40, 1)]) {
      const answer = parseIcmpPacket(ipv4Packet(THERE, HERE, reply, options))
      expect(answer).toMatchObject({
        type: 0,
        code: 0,
        id: 0x1234,
        sequence: 7,
        quotedDestination: undefined,
      })
      expect(Buffer.from(answer?.payload ?? []).equals(PAYLOAD)).toBe(true)
    }
  })

  it.each([
    [3, 1],
    [3, 4],
    [3, 13],
    [11, 0],
    [11, 1],
    [12, 0],
  ])('the reader of IPv4 answers finds the request inside error %i code %i', (type, code) => {
    const answer = parseIcmpPacket(error(type, code, quote, Buffer.alloc(8, 1)))
    expect(answer).toMatchObject({ type, code, id: 0x1234, sequence: 7 })
    expect(Buffer.from(answer?.quotedDestination ?? []).equals(THERE)).toBe(true)
    expect(answer?.hasSum(sumOf(request), PAYLOAD.length)).toBe(true)
    expect(answer?.hasSum(sumOf(request) ^ 1, PAYLOAD.length)).toBe(false)
  })

  it('the reader of IPv4 answers skips options of the quoted header and takes eight bytes of the request as enough', () => {
    const withOptions = ipv4Packet(HERE, THERE, request, Buffer.alloc(12, 1))
    const answer = parseIcmpPacket(error(11, 0, withOptions.subarray(0, 32 + 8)))
    expect(answer).toMatchObject({ type: 11, id: 0x1234, sequence: 7 })
    expect(answer?.payload.length).toBe(0)
    expect(parseIcmpPacket(error(11, 0, withOptions.subarray(0, 32 + 7)))).toBeUndefined()
  })

  it('the reader of IPv4 answers takes nothing behind the quoted packet for payload', () => {
    const short = ipv4Packet(HERE, THERE, icmpMessage(8, 0, echoRest(1, 2, Buffer.from('ab'))))
    const extended = Buffer.concat([short, Buffer.alloc(128 - short.length), Buffer.from('20000000', 'hex')])
    expect(Buffer.from(parseIcmpPacket(error(11, 0, extended))?.payload ?? []).toString()).toBe('ab')
  })

  it('the reader of IPv4 answers ignores everything else', () => {
    const udp = Buffer.from(quote)
    udp[9] = 17
    const fragment = Buffer.from(quote)
    fragment.writeUInt16BE(3, 6)
    const quotedReply = ipv4Packet(HERE, THERE, icmpMessage(0, 0, echoRest(1, 2, PAYLOAD)))
    for (const packet of [
      error(3, 3, udp),
      error(11, 0, fragment),
      error(3, 1, quotedReply),
      error(5, 1, quote),
      ipv4Packet(HERE, THERE, request),
      Buffer.alloc(0),
      Buffer.alloc(28),
    ]) {
      expect(parseIcmpPacket(packet)).toBeUndefined()
    }
  })
})

/** The sum that an echo request has before it is complemented into its checksum. */
function sumOf(request: Buffer): number {
  return ~request.readUInt16BE(2) & 0xffff
}

const error6 = (type: number, code: number, quoted: Buffer): Buffer =>
  icmpMessage(type, code, Buffer.concat([Buffer.alloc(4), quoted]))

describe('IPv6 answers', () => {
  const request = request6(PAYLOAD)
  /** What {@link sealEchoRequest} gave when this request was sent. */
  const sum = ((): number => {
    const message = createEchoRequest(6, 0x1234, 7, PAYLOAD.length)
    PAYLOAD.copy(echoPayload(message))
    return sealEchoRequest(6, message)
  })()

  it('the reader of IPv6 answers reads a reply', () => {
    const answer = parseIcmpv6Message(icmpMessage(129, 0, echoRest(0x1234, 7, PAYLOAD)))
    expect(answer).toMatchObject({ type: 129, id: 0x1234, sequence: 7, quotedDestination: undefined })
  })

  it.each([
    [1, 0],
    [1, 4],
    [2, 0],
    [3, 0],
    [4, 1],
  ])('the reader of IPv6 answers finds the request inside error %i code %i', (type, code) => {
    const answer = parseIcmpv6Message(error6(type, code, ipv6Packet(HERE6, THERE6, request)))
    expect(answer).toMatchObject({ type, code, id: 0x1234, sequence: 7 })
    expect(Buffer.from(answer?.quotedDestination ?? []).equals(THERE6)).toBe(true)
    expect(answer?.hasSum(sum, PAYLOAD.length)).toBe(true)
    expect(answer?.hasSum(sum, PAYLOAD.length + 1)).toBe(false)
  })

  it('the reader of IPv6 answers skips extension headers', () => {
    const extensions = [
      { type: 0, bytes: Buffer.alloc(8) },
      { type: 43, bytes: Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(14)]) },
      { type: 44, bytes: Buffer.alloc(8) },
      { type: 51, bytes: Buffer.concat([Buffer.from([0, 4]), Buffer.alloc(22)]) },
      { type: 60, bytes: Buffer.alloc(8) },
    ]
    const answer = parseIcmpv6Message(error6(3, 0, ipv6Packet(HERE6, THERE6, request, extensions)))
    expect(answer).toMatchObject({ type: 3, id: 0x1234, sequence: 7 })
    expect(answer?.hasSum(sum, PAYLOAD.length)).toBe(true)
  })

  it('the reader of IPv6 answers ignores everything else', () => {
    const later = { type: 44, bytes: Buffer.from([0, 0, 0, 0x10, 0, 0, 0, 0]) }
    const unknown = { type: 253, bytes: Buffer.alloc(8) }
    for (const packet of [
      error6(3, 0, ipv6Packet(HERE6, THERE6, request, [later])),
      error6(3, 0, ipv6Packet(HERE6, THERE6, request, [unknown])),
      error6(3, 0, ipv6Packet(HERE6, THERE6, icmpMessage(129, 0, echoRest(1, 2, PAYLOAD)))),
      error6(137, 0, ipv6Packet(HERE6, THERE6, request)),
      error6(3, 0, ipv6Packet(HERE6, THERE6, request).subarray(0, 47)),
      request,
      Buffer.alloc(0),
    ]) {
      expect(parseIcmpv6Message(packet)).toBeUndefined()
    }
  })
})

describe('any bytes', () => {
  it('any bytes are read without throwing', () => {
    const starts = [Buffer.from('450000000000000000010000', 'hex'), Buffer.from('0300000000000000', 'hex')]
    fc.assert(
      fc.property(fc.constantFrom(...starts), fc.uint8Array({ maxLength: 120 }), (start, bytes) => {
        const packet = Buffer.concat([start, bytes])
        parseIcmpPacket(packet)?.hasSum(1, 1)
        parseIcmpv6Message(packet)?.hasSum(1, 1)
      }),
    )
  })
})
