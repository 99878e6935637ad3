/**
 * DATA frames as they arrive, in pieces (RFC 9113 section 6.1):
 *
 *     [ pad length (8) ] | content | padding
 *
 * The whole payload counts against the windows; content is passed on without a copy, padding is dropped.
 */
import { Flag } from '../../wire/http2/protocol.ts'
import type { FrameParser } from '../../wire/http2/frame-parser.ts'
import type { Http2Stream } from './stream.ts'

export class DataFrames {
  #stream: Http2Stream | undefined
  #endsStream = false
  /** The next byte is the length of the padding. */
  #awaitsPadLength = false
  #contentLeft = 0

  /** @param stream gets the content; undefined when nobody does. */
  begin(frame: FrameParser, stream: Http2Stream | undefined): void {
    this.#stream = stream
    this.#endsStream = (frame.flags & Flag.END_STREAM) !== 0
    this.#awaitsPadLength = (frame.flags & Flag.PADDED) !== 0
    this.#contentLeft = frame.length
  }

  /** False when the padding is longer than the frame. */
  onPiece(chunk: Buffer, start: number, end: number): boolean {
    const stream = this.#stream
    let at = start
    if (this.#awaitsPadLength) {
      this.#awaitsPadLength = false
      this.#contentLeft -= 1 + (chunk[at] ?? 0)
      if (this.#contentLeft < 0) return false
      at++
      stream?.onPadding(1)
    }
    if (stream === undefined) return true
    const content = Math.min(end - at, this.#contentLeft)
    this.#contentLeft -= content
    if (content > 0) stream.onData(chunk, at, at + content)
    if (at + content < end) stream.onPadding(end - at - content)
    return true
  }

  onEnd(): void {
    const stream = this.#stream
    this.#stream = undefined
    if (this.#endsStream) stream?.onRemoteEnd()
  }
}
