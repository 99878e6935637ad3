/**
 * Frames out of bytes that arrive in any pieces (RFC 9113 sections 3.4 and 4.1):
 *
 *     length (24) | type (8) | flags (8) | reserved (1) stream (31) | payload (length)
 *
 * What becomes of a frame is decided when its head has arrived, before any of its payload is kept: a long payload is
 * passed on in pieces without a copy, or skipped; only a short one is collected.
 */
import { FRAME_HEAD_BYTES, PREFACE } from './protocol.ts'

/** What the parser does with a payload. */
export const Handling = {
  /** One call of `onPayload` with all of it; the sink has checked its length. */
  COLLECT: 0,
  /** A call of `onPiece` for each part as it arrives, then `onPiecesEnd`. */
  STREAM: 1,
  SKIP: 2,
} as const
export type Handling = (typeof Handling)[keyof typeof Handling]

/** Any of these may call {@link FrameParser.stop}; no call follows then. */
export interface FrameSink {
  /** The connection did not begin with the preface. The parser has stopped. */
  onBadPreface(): void
  /** The parser's fields describe the frame until its payload has been handled. */
  onFrameHead(frame: FrameParser): Handling
  /** `chunk[start..end)` is the payload: valid during the call, since the buffer may be used again. */
  onPayload(frame: FrameParser, payload: Buffer): void
  /** A part of the payload, never empty; the sink may keep it. */
  onPiece(chunk: Buffer, start: number, end: number): void
  onPiecesEnd(frame: FrameParser): void
}

const PREFACE_LINE_BYTES = 'PRI * HTTP/2.0\r\n'.length

type State = 'preface' | 'head' | 'payload' | 'stopped'

export class FrameParser {
  type = 0
  flags = 0
  streamId = 0
  /** Bytes of payload. */
  length = 0
  readonly #sink: FrameSink
  #state: State = 'preface'
  #handling: Handling = Handling.SKIP
  /** Bytes of the preface, or of the payload, that are still to come. */
  #left = PREFACE.length
  /** A head, or a collected payload, of which only a part has arrived. */
  #partial: Buffer | undefined
  #partialBytes = 0
  #isPaused = false
  #kept: Buffer | undefined

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** The bytes so far end inside the preface or a frame. */
  get isIncomplete(): boolean {
    return (
      this.#state === 'payload' ||
      this.#partialBytes > 0 ||
      (this.#state === 'preface' && this.#left < PREFACE.length)
    )
  }

  /** Nothing is parsed any more. */
  stop(): void {
    this.#state = 'stopped'
    this.#partial = undefined
    this.#kept = undefined
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** What follows is kept until {@link resume}. For a moment only: nothing bounds it but the socket being paused. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    const kept = this.#kept
    this.#kept = undefined
    if (kept !== undefined) this.push(kept)
  }

  push(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length || this.#isComplete()) {
      if (this.#isPaused) return this.#keep(chunk.subarray(at))
      switch (this.#state) {
        case 'preface':
          at = this.#takePreface(chunk, at)
          break
        case 'head':
          at = this.#takeHead(chunk, at)
          break
        case 'payload':
          at = this.#takePayload(chunk, at)
          break
        case 'stopped':
          return
      }
    }
  }

  #keep(rest: Buffer): void {
    this.#kept = this.#kept === undefined ? rest : Buffer.concat([this.#kept, rest])
  }

  /** A frame without payload, or at its end, needs no more bytes. */
  #isComplete(): boolean {
    return this.#state === 'payload' && this.#left === 0
  }

  /** Judged in two parts, like nginx: the request line, then the rest. */
  #takePreface(chunk: Buffer, at: number): number {
    const done = PREFACE.length - this.#left
    const bytes = done === 0 ? PREFACE_LINE_BYTES : PREFACE.length - PREFACE_LINE_BYTES
    const end = this.#collect(chunk, at, bytes)
    if (this.#partialBytes < bytes) return end
    if (this.#takeCollected().toString('latin1') !== PREFACE.slice(done, done + bytes)) {
      this.stop()
      this.#sink.onBadPreface()
      return chunk.length
    }
    this.#left -= bytes
    if (this.#left === 0) this.#state = 'head'
    return end
  }

  #takeHead(chunk: Buffer, at: number): number {
    if (this.#partialBytes === 0 && chunk.length - at >= FRAME_HEAD_BYTES) {
      this.#onHead(chunk, at)
      return at + FRAME_HEAD_BYTES
    }
    const end = this.#collect(chunk, at, FRAME_HEAD_BYTES)
    if (this.#partialBytes === FRAME_HEAD_BYTES) this.#onHead(this.#takeCollected(), 0)
    return end
  }

  #onHead(from: Buffer, at: number): void {
    this.length = from.readUIntBE(at, 3)
    this.type = from.readUInt8(at + 3)
    this.flags = from.readUInt8(at + 4)
    this.streamId = from.readUInt32BE(at + 5) & 0x7fffffff
    this.#left = this.length
    this.#state = 'payload'
    this.#handling = this.#sink.onFrameHead(this)
  }

  #takePayload(chunk: Buffer, at: number): number {
    if (this.#handling === Handling.COLLECT) return this.#takeCollectedPayload(chunk, at)
    const end = Math.min(chunk.length, at + this.#left)
    this.#left -= end - at
    const streamed = this.#handling === Handling.STREAM
    if (streamed && end > at) this.#sink.onPiece(chunk, at, end)
    if (this.#left === 0 && this.#nextFrame() && streamed) this.#sink.onPiecesEnd(this)
    return end
  }

  #takeCollectedPayload(chunk: Buffer, at: number): number {
    const { length } = this
    if (this.#partialBytes === 0 && chunk.length - at >= length) {
      if (this.#nextFrame()) this.#sink.onPayload(this, chunk.subarray(at, at + length))
      return at + length
    }
    const end = this.#collect(chunk, at, length)
    this.#left = length - this.#partialBytes
    if (this.#left === 0) {
      const payload = this.#takeCollected()
      if (this.#nextFrame()) this.#sink.onPayload(this, payload)
    }
    return end
  }

  /** False when a sink has stopped the parser. */
  #nextFrame(): boolean {
    if (this.#state === 'stopped') return false
    this.#state = 'head'
    this.#left = 0
    return true
  }

  /** Adds to what is collected, up to `bytes` in all; returns where it came to. */
  #collect(chunk: Buffer, at: number, bytes: number): number {
    this.#partial ??= Buffer.allocUnsafe(bytes)
    const end = Math.min(chunk.length, at + bytes - this.#partialBytes)
    chunk.copy(this.#partial, this.#partialBytes, at, end)
    this.#partialBytes += end - at
    return end
  }

  #takeCollected(): Buffer {
    const all = this.#partial ?? Buffer.alloc(0)
    this.#partial = undefined
    this.#partialBytes = 0
    return all
  }
}
