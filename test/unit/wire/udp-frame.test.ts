import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EndpointError } from '../../../src/errors.ts'
import {
  encodeAddressing,
  encodeUdpUplink,
  MAX_UDP_PAYLOAD_SIZE,
  MAX_UPLINK_LENGTH,
  UdpDownlinkDecoder,
  udpReplySize,
  UdpUplinkDecoder,
  writeUdpReply,
} from '../../../src/wire/udp-frame.ts'
import type { UplinkDatagram } from '../../../src/wire/udp-frame.ts'
import vectors from '../../vectors/wire.json' with { type: 'json' }
import { slowDownlink, slowUplink, slowUplinkStream } from './slow-codec.ts'
import type { SlowUplink } from './slow-codec.ts'

function shown(datagram: UplinkDatagram): SlowUplink {
  const { source, destination } = datagram
  return {
    source: source.address,
    sourcePort: source.port,
    destination: destination.address,
    destinationPort: destination.port,
    appName: datagram.appName,
    payloadHex: datagram.payload.toString('hex'),
  }
}

/** What a decoder makes of these chunks, skipped frames as their reasons. */
function decode(chunks: readonly Buffer[]): (SlowUplink | string)[] {
  const seen: (SlowUplink | string)[] = []
  const decoder = new UdpUplinkDecoder({
    onDatagram: (datagram) => void seen.push(shown(datagram)),
    onSkipped: (reason) => void seen.push(reason),
  })
  for (const chunk of chunks) decoder.push(chunk)
  expect(decoder.midFrame).toBe(false)
  return seen
}

function cut(bytes: Buffer, points: readonly number[]): Buffer[] {
  const sorted = [0, ...points.map((point) => Math.min(point, bytes.length)), bytes.length]
  sorted.sort((left, right) => left - right)
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end))
}

function encodeUdpReply(addressing: Buffer, payload: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(udpReplySize(payload.length))
  writeUdpReply(frame, 0, addressing, payload)
  return frame
}

const address = fc.oneof(
  fc.ipV4().filter((text) => text !== '0.0.0.1'),
  fc.constantFrom('::1', '2001:db8::7', 'fe80::1', '::ffff:192.0.2.9', '64:ff9b::102:304'),
)
const port = fc.integer({ min: 0, max: 65_535 })
const datagram: fc.Arbitrary<SlowUplink> = fc.record({
  source: address,
  sourcePort: port,
  destination: address,
  destinationPort: port,
  appName: fc.string({ unit: 'grapheme', maxLength: 20 }).filter((name) => Buffer.byteLength(name) <= 255),
  payloadHex: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('hex')),
})

describe('uplink', () => {
  const stream = Buffer.from(vectors.udp_uplink.map((vector) => vector.frameHex).join(''), 'hex')
  const expected = vectors.udp_uplink.map(({ frameHex: _frame, ...fields }) => fields)

  it('the UDP uplink encodes the vectors', () => {
    for (const vector of vectors.udp_uplink) {
      const addressing = encodeAddressing(
        { address: vector.source, port: vector.sourcePort },
        { address: vector.destination, port: vector.destinationPort },
      )
      const frame = encodeUdpUplink(addressing, Buffer.from(vector.payloadHex, 'hex'), vector.appName)
      expect(frame.toString('hex')).toBe(vector.frameHex)
      expect(slowUplink(vector)).toBe(vector.frameHex)
    }
  })

  it('the UDP uplink decodes the vectors at every split point, and byte by byte', () => {
    for (let at = 0; at <= stream.length; at += 1) expect(decode(cut(stream, [at]))).toEqual(expected)
    expect(decode([...stream].map((byte) => Buffer.of(byte)))).toEqual(expected)
  })

  it('the UDP uplink agrees with the second codec on any stream at any split', () => {
    const points = fc.array(fc.nat(2000), { maxLength: 12 })
    fc.assert(
      fc.property(fc.array(datagram, { maxLength: 8 }), points, (datagrams, at) => {
        const bytes = Buffer.from(datagrams.map(slowUplink).join(''), 'hex')
        expect(decode(cut(bytes, at))).toEqual(slowUplinkStream(bytes.toString('hex')))
      }),
    )
  })

  it('the UDP uplink skips malformed frames exactly, with the reason', () => {
    const good = vectors.udp_uplink[0]?.frameHex ?? ''
    const addressing = good.slice(8, 80)
    const bad = [
      ['00000000', 'too_short'],
      ['00000024' + addressing, 'too_short'],
      ['00000026' + addressing + '0241', 'app_name_overrun'],
    ] as const
    const bytes = Buffer.from(bad.map(([hex]) => hex + good).join(''), 'hex')
    const reasons = bad.flatMap(([, reason]) => [reason, expected[0]])
    for (let at = 0; at <= bytes.length; at += 1) expect(decode(cut(bytes, [at]))).toEqual(reasons)
    expect(slowUplinkStream(bytes.toString('hex'))).toEqual(reasons)
  })

  it('the UDP uplink takes the largest payload with the longest name, and skips one byte more', () => {
    const addressing = encodeAddressing({ address: '10.0.0.1', port: 1 }, { address: '10.0.0.2', port: 2 })
    const largest = encodeUdpUplink(addressing, Buffer.alloc(MAX_UDP_PAYLOAD_SIZE, 7), 'x'.repeat(255))
    expect(largest.readUInt32BE(0)).toBe(MAX_UPLINK_LENGTH)
    const [seen] = decode(cut(largest, [3, 40, 65_000]))
    expect(seen).toMatchObject({ appName: 'x'.repeat(255), payloadHex: '07'.repeat(MAX_UDP_PAYLOAD_SIZE) })
    const over = Buffer.concat([
      largest.subarray(0, 40),
      Buffer.of(0),
      Buffer.alloc(MAX_UDP_PAYLOAD_SIZE + 1),
    ])
    over.writeUInt32BE(over.length - 4)
    expect(decode([over, largest])).toEqual(['payload_too_long', seen])
  })

  it('the UDP uplink loses the stream on a length above the maximum, after what came before', () => {
    const good = Buffer.from(vectors.udp_uplink[1]?.frameHex ?? '', 'hex')
    const prefix = Buffer.alloc(4)
    prefix.writeUInt32BE(MAX_UPLINK_LENGTH + 1)
    const bytes = Buffer.concat([good, prefix, good])
    for (let at = 0; at <= good.length + 4; at += 1) {
      const seen: string[] = []
      const decoder = new UdpUplinkDecoder({
        onDatagram: (found) => void seen.push(found.appName),
        onSkipped: (reason) => void seen.push(reason),
      })
      const push = (): void => cut(bytes, [at]).forEach((chunk) => decoder.push(chunk))
      expect(push).toThrow(expect.objectContaining({ code: 'too_long' }) as EndpointError)
      expect(seen).toEqual(['com.example.app'])
      expect(() => decoder.push(good)).toThrow(EndpointError)
      expect(seen).toHaveLength(1)
    }
  })

  it('the UDP uplink delivers an empty datagram at once', () => {
    const empty = vectors.udp_uplink.find((vector) => vector.payloadHex === '')
    expect(decode([Buffer.from(empty?.frameHex ?? '', 'hex')])).toMatchObject([{ payloadHex: '' }])
  })

  it('the UDP uplink keys a flow by source and destination, and nothing else', () => {
    const keys: string[] = []
    const sources: string[] = []
    const decoder = new UdpUplinkDecoder({
      onDatagram: (found) => {
        keys.push(found.key)
        sources.push(found.sourceBytes.toString('hex'))
      },
      onSkipped: () => expect.unreachable(),
    })
    const first = encodeAddressing({ address: '0.0.0.0', port: 0 }, { address: '192.0.2.1', port: 53 })
    const second = encodeAddressing({ address: '0.0.0.0', port: 0 }, { address: '192.0.2.1', port: 54 })
    decoder.push(encodeUdpUplink(first, Buffer.from('a'), 'one'))
    decoder.push(encodeUdpUplink(first, Buffer.from('bb'), 'two'))
    decoder.push(encodeUdpUplink(second, Buffer.from('a')))
    expect(keys[0]).toBe(keys[1])
    expect(keys[2]).not.toBe(keys[0])
    expect(keys[0]).toHaveLength(36)
    expect(sources[0]).toBe('00'.repeat(18))
  })
})

describe('downlink', () => {
  it('the UDP downlink encodes and decodes the vectors at every split point', () => {
    const stream = Buffer.from(vectors.udp_downlink.map((vector) => vector.frameHex).join(''), 'hex')
    for (const vector of vectors.udp_downlink) {
      const addressing = encodeAddressing(
        { address: vector.source, port: vector.sourcePort },
        { address: vector.destination, port: vector.destinationPort },
      )
      const frame = encodeUdpReply(addressing, Buffer.from(vector.payloadHex, 'hex'))
      expect(frame.toString('hex')).toBe(vector.frameHex)
      expect(slowDownlink(vector)).toBe(vector.frameHex)
    }
    for (let at = 0; at <= stream.length; at += 1) {
      const seen: string[] = []
      const decoder = new UdpDownlinkDecoder(({ source, destination, payload }) => {
        seen.push(
          `${source.address} ${source.port} ${destination.address} ${destination.port} ${payload.toString('hex')}`,
        )
      })
      for (const chunk of cut(stream, [at])) decoder.push(chunk)
      expect(seen).toEqual(
        vectors.udp_downlink.map(
          (vector) =>
            `${vector.source} ${vector.sourcePort} ${vector.destination} ${vector.destinationPort} ${vector.payloadHex}`,
        ),
      )
    }
  })

  it('the UDP downlink answers to the source of the request, byte for byte', () => {
    fc.assert(
      fc.property(datagram, fc.uint8Array({ maxLength: 40 }), (request, payload) => {
        const seen: UplinkDatagram[] = []
        new UdpUplinkDecoder({
          onDatagram: (found) => void seen.push(found),
          onSkipped: () => expect.unreachable(),
        }).push(Buffer.from(slowUplink(request), 'hex'))
        const addressing = seen[0]?.replyAddressing() ?? Buffer.alloc(0)
        const reply = encodeUdpReply(addressing, Buffer.from(payload)).toString('hex')
        expect(reply).toBe(
          slowDownlink({
            source: request.destination,
            sourcePort: request.destinationPort,
            destination: request.source,
            destinationPort: request.sourcePort,
            payloadHex: Buffer.from(payload).toString('hex'),
          }),
        )
      }),
    )
  })

  it('the UDP downlink writes several replies into one buffer', () => {
    const addressing = encodeAddressing({ address: '::1', port: 9 }, { address: '10.0.0.1', port: 8 })
    const payloads = [Buffer.from('one'), Buffer.alloc(0), Buffer.from('three')]
    const target = Buffer.alloc(payloads.reduce((size, payload) => size + udpReplySize(payload.length), 0))
    let offset = 0
    for (const payload of payloads) offset = writeUdpReply(target, offset, addressing, payload)
    expect(offset).toBe(target.length)
    expect(target).toEqual(Buffer.concat(payloads.map((payload) => encodeUdpReply(addressing, payload))))
  })

  it('the UDP downlink skips a frame without room for its addresses', () => {
    const reasons: string[] = []
    const decoder = new UdpDownlinkDecoder(
      () => reasons.push('datagram'),
      (reason) => reasons.push(reason),
    )
    decoder.push(Buffer.from(`00000002abcd${vectors.udp_downlink[0]?.frameHex}`, 'hex'))
    expect(reasons).toEqual(['too_short', 'datagram'])
  })
})
