import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FrameParser } from '../../../../src/wire/http2/frame-parser.ts'
import type { FrameSink, Handling } from '../../../../src/wire/http2/frame-parser.ts'
import { PREFACE, frame, uint32 } from '../../../support/http2-frames.ts'
import { handlingOf, headEvent, slowParse } from './slow-frames.ts'

/** Notes every call; `onCall` runs inside the call, which is the given one from 1 on. */
class Notes implements FrameSink {
  readonly calls: string[] = []
  readonly parser = new FrameParser(this)
  onCall: (call: number) => void = () => {}

  onBadPreface(): void {
    this.#note('bad preface')
  }

  onFrameHead({ type, flags, streamId, length }: FrameParser): Handling {
    this.#note(headEvent(type, flags, streamId, length))
    return handlingOf(type)
  }

  onPayload(parsed: FrameParser, payload: Buffer): void {
    if (payload.length !== parsed.length) throw new Error('not the whole payload')
    this.#note(`payload ${payload.toString('hex')}`)
  }

  onPiece(chunk: Buffer, start: number, end: number): void {
    if (end <= start) throw new Error('an empty piece')
    this.#note(`pieces ${chunk.toString('hex', start, end)}`)
  }

  onPiecesEnd(): void {
    this.#note('pieces end')
  }

  /** The pieces of a payload as one event, as the slow parser has them. */
  get events(): string[] {
    const events: string[] = []
    for (const call of this.calls) {
      const before = events.at(-1)
      if (call.startsWith('pieces ') && call !== 'pieces end' && before?.startsWith('pieces ') === true)
        events.push(`${events.pop()}${call.slice('pieces '.length)}`)
      else events.push(call)
    }
    return events
  }

  push(pieces: readonly Buffer[]): this {
    for (const piece of pieces) this.parser.push(piece)
    return this
  }

  #note(call: string): void {
    this.calls.push(call)
    this.onCall(this.calls.length)
  }
}

const bytesOf = (...parts: (Buffer | string)[]): Buffer =>
  Buffer.concat(parts.map((part) => Buffer.from(part as string, 'latin1')))
const singleBytes = (bytes: Buffer): Buffer[] => Array.from(bytes, (byte) => Buffer.from([byte]))

const STREAMS: Record<string, Buffer> = {
  'nothing but the preface': bytesOf(PREFACE),
  'one frame of each kind': bytesOf(
    PREFACE,
    frame('SETTINGS', { payload: bytesOf('\0\x04', uint32(65_535)) }),
    frame('SETTINGS', { flags: 1 }),
    frame('HEADERS', { stream: 1, payload: 'a block' }),
    frame('CONTINUATION', { stream: 1, flags: 4, payload: 'and more' }),
    frame('DATA', { stream: 1, flags: 8, payload: '\x03content\0\0\0' }),
    frame('DATA', { stream: 1, flags: 1 }),
    frame('PING', { payload: '12345678' }),
    frame(0xbb, { flags: 255, payload: 'unknown' }),
    frame(0xbb),
    frame('PRIORITY', { stream: 3, payload: '\0\0\0\0\x10' }),
    frame('GOAWAY', { payload: '\0\0\0\0\0\0\0\0bye' }),
  ),
  'the reserved bit of the stream': bytesOf(
    PREFACE,
    frame('PING', { stream: 0xffffffff, payload: '12345678' }),
  ),
  'an end inside a head': bytesOf(PREFACE, frame('DATA', { stream: 1 }).subarray(0, 7)),
  'an end inside a payload in pieces': bytesOf(
    PREFACE,
    frame('DATA', { stream: 1, length: 9, payload: 'part' }),
  ),
  'an end inside a collected payload': bytesOf(PREFACE, frame('PING', { length: 8, payload: 'part' })),
  'an end inside a skipped payload': bytesOf(PREFACE, frame(0xff, { length: 8, payload: 'part' })),
  'a wrong first line': bytesOf('GET / HTTP/1.1\r\n\r\nSM\r\n\r\n', frame('SETTINGS')),
  'a wrong second part': bytesOf(PREFACE.slice(0, 16), '\r\nXX\r\n\r\n', frame('SETTINGS')),
  'ten wrong bytes': bytesOf('0123456789'),
}
const GOLDEN = Object.entries(STREAMS)

describe('FrameParser', () => {
  it.each(GOLDEN)('frames are parsed as by a slow parser: %s', (_, bytes) => {
    expect(new Notes().push([bytes]).events).toEqual(slowParse(bytes))
  })

  it.each(GOLDEN)('frames are parsed alike wherever they are split: %s', (_, bytes) => {
    const whole = slowParse(bytes)
    for (let first = 0; first <= bytes.length; first++) {
      for (const second of [first, first + 1, first + 9, bytes.length]) {
        const pieces = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)]
        expect(new Notes().push(pieces).events).toEqual(whole)
      }
    }
    expect(new Notes().push(singleBytes(bytes)).events).toEqual(whole)
  })

  it('any frames in any pieces are parsed as by a slow parser', () => {
    const anyFrame = fc
      .record({
        type: fc.oneof(fc.nat(12), fc.nat(255)),
        flags: fc.nat(255),
        stream: fc.oneof(fc.nat(8), fc.nat(2 ** 32 - 1)),
        payload: fc.oneof(fc.uint8Array({ maxLength: 30 }), fc.uint8Array({ maxLength: 3000 })),
      })
      .map(({ type, payload, ...fields }) => frame(type, { ...fields, payload: Buffer.from(payload) }))
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 12 }),
        fc.array(fc.nat(400)),
        fc.nat(40),
        (frames, cuts, missing) => {
          const all = bytesOf(PREFACE, ...frames)
          const bytes = all.subarray(0, all.length - missing)
          const notes = new Notes()
          let at = 0
          for (const cut of cuts) {
            notes.parser.push(bytes.subarray(at, at + cut))
            at += cut
          }
          notes.parser.push(bytes.subarray(at))
          expect(notes.events).toEqual(slowParse(bytes))
        },
      ),
    )
  })

  it.each(GOLDEN)('no call follows a stop in any call: %s', (_, bytes) => {
    for (const pieces of [[bytes], singleBytes(bytes), [bytes.subarray(0, 40), bytes.subarray(40)]]) {
      const whole = new Notes().push(pieces).calls
      for (let last = 1; last <= whole.length; last++) {
        const notes = new Notes()
        notes.onCall = (call) => {
          if (call === last) notes.parser.stop()
        }
        notes.push(pieces)
        notes.parser.resume()
        expect(notes.calls).toEqual(whole.slice(0, last))
      }
    }
  })

  it.each(GOLDEN)('a pause in any call lasts until it is resumed, and loses nothing: %s', (_, bytes) => {
    for (const pieces of [[bytes], singleBytes(bytes), [bytes.subarray(0, 40), bytes.subarray(40)]]) {
      const whole = new Notes().push(pieces)
      for (let last = 1; last <= whole.calls.length; last++) {
        const notes = new Notes()
        notes.onCall = (call) => {
          if (call === last) notes.parser.pause()
        }
        notes.push(pieces)
        // The end of a payload belongs to its last piece.
        const atPause = notes.calls.length - (notes.calls[last] === 'pieces end' ? 1 : 0)
        expect(atPause).toBe(last)
        expect(notes.parser.isPaused).toBe(true)
        notes.parser.resume()
        expect(notes.parser.isPaused).toBe(false)
        expect(notes.events).toEqual(whole.events)
      }
    }
  })

  it.each(GOLDEN)('a pause in every call, resumed each time, loses nothing: %s', (_, bytes) => {
    for (const pieces of [[bytes], singleBytes(bytes)]) {
      const notes = new Notes()
      notes.onCall = () => notes.parser.pause()
      notes.push(pieces)
      while (notes.parser.isPaused) notes.parser.resume()
      expect(notes.events).toEqual(slowParse(bytes))
    }
  })

  it('what was kept in a pause is dropped by a stop', () => {
    const notes = new Notes()
    notes.push([bytesOf(PREFACE)])
    notes.parser.pause()
    notes.push([frame('PING', { payload: '12345678' })])
    notes.parser.stop()
    notes.parser.resume()
    notes.push([frame('PING', { payload: '12345678' })])
    expect(notes.calls).toEqual([])
  })

  it('nothing is kept after a stop in a pause', () => {
    const notes = new Notes()
    notes.parser.pause()
    notes.parser.stop()
    notes.push([bytesOf(PREFACE, frame('SETTINGS'))])
    notes.parser.resume()
    expect(notes.calls).toEqual([])
  })

  it('bytes are incomplete exactly inside the preface or a frame', () => {
    const bytes = STREAMS['one frame of each kind'] ?? Buffer.alloc(0)
    const { parser } = new Notes()
    const complete: number[] = []
    for (let at = 0; at < bytes.length; at++) {
      if (!parser.isIncomplete) complete.push(at)
      parser.push(bytes.subarray(at, at + 1))
    }
    const starts: number[] = [0]
    for (let at = PREFACE.length; at < bytes.length; at += 9 + bytes.readUIntBE(at, 3)) starts.push(at)
    expect(complete).toEqual(starts)
    expect(parser.isIncomplete).toBe(false)
  })

  it('pieces are passed on without a copy', () => {
    const chunk = bytesOf(PREFACE, frame('DATA', { stream: 1, payload: 'content' }))
    const seen: Buffer[] = []
    const notes = new Notes()
    notes.onPiece = (from) => void seen.push(from)
    notes.parser.push(chunk)
    expect(seen).toEqual([chunk])
    expect(seen[0]).toBe(chunk)
  })
})
