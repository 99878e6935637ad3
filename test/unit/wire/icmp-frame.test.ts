import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  encodeIcmpReply,
  encodeIcmpRequest,
  IcmpReplyDecoder,
  IcmpRequestDecoder,
} from '../../../src/wire/icmp-frame.ts'
import vectors from '../../vectors/wire.json' with { type: 'json' }
import { hexOf, slowPadded } from './slow-codec.ts'

it('ICMP request vectors are encoded, and decoded at every split point', () => {
  const frames = vectors.icmp_request.map((vector) => Buffer.from(vector.frameHex, 'hex'))
  expect(vectors.icmp_request.map(encodeIcmpRequest)).toEqual(frames)
  const stream = Buffer.concat(frames)
  for (let at = 0; at <= stream.length; at += 1) {
    const decoder = new IcmpRequestDecoder()
    const seen = [...decoder.push(stream.subarray(0, at)), ...decoder.push(stream.subarray(at))]
    expect(seen).toMatchObject(vectors.icmp_request.map(({ frameHex: _frame, ...fields }) => fields))
  }
})

it('ICMP reply vectors are encoded, and decoded at every split point', () => {
  const frames = vectors.icmp_reply.map((vector) => Buffer.from(vector.frameHex, 'hex'))
  expect(vectors.icmp_reply.map(encodeIcmpReply)).toEqual(frames)
  const stream = Buffer.concat(frames)
  for (let at = 0; at <= stream.length; at += 1) {
    const decoder = new IcmpReplyDecoder()
    const seen = [...decoder.push(stream.subarray(0, at)), ...decoder.push(stream.subarray(at))]
    expect(seen).toMatchObject(vectors.icmp_reply.map(({ frameHex: _frame, ...fields }) => fields))
  }
})

it('the ICMP codec agrees with the second codec, byte by byte', () => {
  const u16 = fc.integer({ min: 0, max: 65_535 })
  const request = fc.record({
    id: u16,
    destination: fc.oneof(fc.ipV4(), fc.constantFrom('::1', '2001:db8::9', 'ff02::1')),
    sequence: u16,
    ttl: fc.integer({ min: 0, max: 255 }),
    dataSize: u16,
  })
  fc.assert(
    fc.property(fc.array(request, { maxLength: 6 }), (requests) => {
      const hex = requests
        .map(
          ({ id, destination, sequence, ttl, dataSize }) =>
            hexOf(id, 2) + slowPadded(destination) + hexOf(sequence, 2) + hexOf(ttl, 1) + hexOf(dataSize, 2),
        )
        .join('')
      expect(Buffer.concat(requests.map(encodeIcmpRequest)).toString('hex')).toBe(hex)
      const decoder = new IcmpRequestDecoder()
      const seen = [...Buffer.from(hex, 'hex')].flatMap((byte) => decoder.push(Buffer.of(byte)))
      // 0.0.0.1 has no padded form of its own: its bytes mean ::1.
      const expected = requests.map((one) =>
        one.destination === '0.0.0.1' ? { ...one, destination: '::1' } : one,
      )
      expect(seen).toMatchObject(expected)
    }),
  )
})
