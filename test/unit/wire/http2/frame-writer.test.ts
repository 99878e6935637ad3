import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  GOAWAY_BYTES,
  NUMBER_FRAME_BYTES,
  PING_BYTES,
  settingsBytes,
  writeFrameHead,
  writeGoaway,
  writeNumberFrame,
  writePing,
  writeSettings,
} from '../../../../src/wire/http2/frame-writer.ts'
import { FrameType } from '../../../../src/wire/http2/protocol.ts'
import { frame, uint32 } from '../../../support/http2-frames.ts'

const AROUND = 3

/** What `write` puts between two margins that it must not touch; it must return the end. */
function written(bytes: number, write: (into: Buffer, at: number) => number | void): Buffer {
  const into = Buffer.alloc(AROUND + bytes + AROUND, 0xee)
  expect(write(into, AROUND)).toBe(AROUND + bytes)
  const margin = Buffer.alloc(AROUND, 0xee)
  expect(into.subarray(0, AROUND)).toEqual(margin)
  expect(into.subarray(AROUND + bytes)).toEqual(margin)
  return into.subarray(AROUND, AROUND + bytes)
}

const byte = fc.nat(255)
const word = fc.oneof(
  fc.nat(70_000),
  fc.nat(2 ** 32 - 1),
  fc.constantFrom(0, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
)

describe('frame writers', () => {
  it('a frame head has the bytes of RFC 9113', () => {
    const length = fc.oneof(fc.nat(70_000), fc.nat(2 ** 24 - 1))
    fc.assert(
      fc.property(length, byte, byte, word, (bytes, type, flags, stream) => {
        const head = written(9, (into, at) => writeFrameHead(into, at, bytes, type, flags, stream))
        expect(head).toEqual(frame(type, { length: bytes, flags, stream }))
      }),
    )
  })

  it('frames of one number have the bytes of RFC 9113', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(FrameType.RST_STREAM, FrameType.WINDOW_UPDATE),
        word,
        word,
        (type, stream, value) => {
          const bytes = written(NUMBER_FRAME_BYTES, (into, at) =>
            writeNumberFrame(into, at, type, stream, value),
          )
          expect(bytes).toEqual(frame(type, { stream, payload: uint32(value) }))
        },
      ),
    )
  })

  it('SETTINGS have the bytes of RFC 9113, in the order given', () => {
    const settings = fc.array(fc.tuple(fc.nat(65_535), word), { maxLength: 8 })
    fc.assert(
      fc.property(settings, (pairs) => {
        const payload = Buffer.concat(
          pairs.map(([identifier, value]) => Buffer.concat([uint32(identifier).subarray(2), uint32(value)])),
        )
        const bytes = written(settingsBytes(pairs.length), (into, at) => writeSettings(into, at, pairs))
        expect(bytes).toEqual(frame('SETTINGS', { payload }))
      }),
    )
  })

  it('PING has the bytes of RFC 9113', () => {
    const content = Buffer.from('\0\x01abc\xff\xfe\xfd', 'latin1')
    for (const flags of [0, 1])
      expect(written(PING_BYTES, (into, at) => writePing(into, at, flags, content))).toEqual(
        frame('PING', { flags, payload: content }),
      )
  })

  it('GOAWAY has the bytes of RFC 9113, without debug data', () => {
    fc.assert(
      fc.property(word, word, (last, code) => {
        const bytes = written(GOAWAY_BYTES, (into, at) => writeGoaway(into, at, last, code))
        expect(bytes).toEqual(frame('GOAWAY', { payload: Buffer.concat([uint32(last), uint32(code)]) }))
      }),
    )
  })
})
