/**
 * The content of an HTTP/1 request (RFC 9112 sections 6 and 7): of a declared length, or in chunks, with nginx's
 * tolerance: chunks may have extensions, trailers are skipped, lines may end with LF alone.
 *
 *     chunk-size [ extension ] [CR] LF data [CR] LF ... "0" [ extension ] [CR] LF trailers [CR] LF
 */
import type { ContentFraming } from './head.ts'

const CR = 0x0d
const LF = 0x0a
/** Above a sixteenth of nginx's largest offset a chunk's size may not get another digit. */
const MAX_SIZE_BEFORE_DIGIT = 2 ** 63 / 16
/**
 * The line before a chunk, and all trailers: nginx sets no limit, but they cost time and carry nothing
 * (CVE-2024-22019 is about a server without one).
 */
const MAX_OVERHEAD_BYTES = 16_384

const State = {
  start: 0,
  size: 1,
  extension: 2,
  extensionEnd: 3,
  data: 4,
  dataEnd: 5,
  dataLineFeed: 6,
  trailerStart: 7,
  trailer: 8,
  trailerEnd: 9,
  end: 10,
} as const

export type ContentState = 'more' | 'done' | 'malformed'

export class ContentDecoder {
  readonly #sized: boolean
  #left = 0
  #state: number = State.start
  /** Bytes of the current line, or of the trailers. */
  #overhead = 0
  state: ContentState = 'more'

  constructor(framing: ContentFraming) {
    this.#sized = framing.kind !== 'chunked'
    if (framing.kind === 'sized') this.#left = framing.bytes
    if (this.#sized && this.#left === 0) this.state = 'done'
  }

  /**
   * Hands the content in `chunk` to `onContent`, piece by piece, as parts of `chunk`, and returns how much of `chunk`
   * belongs to the request. {@link state} changes before the last piece is handed over.
   */
  push(chunk: Buffer, onContent: (piece: Buffer) => void): number {
    let at = 0
    while (at < chunk.length && this.state === 'more') {
      if (this.#sized || (this.#state === State.data && this.#left > 0)) {
        const end = Math.min(chunk.length, at + this.#left)
        this.#left -= end - at
        if (this.#sized && this.#left === 0) this.state = 'done'
        onContent(chunk.subarray(at, end))
        at = end
      } else {
        this.#takeByte(chunk[at] ?? 0)
        at++
      }
    }
    return at
  }

  #takeByte(byte: number): void {
    if (this.#state === State.data) this.#state = State.dataEnd
    switch (this.#state) {
      case State.start:
        this.#overhead = 0
        this.#left = hexDigit(byte)
        this.#state = State.size
        if (this.#left < 0) this.#fail()
        return
      case State.size:
        return this.#takeSize(byte)
      case State.extension:
        return this.#skip(byte, State.extensionEnd)
      case State.dataEnd:
        if (byte === CR) this.#state = State.dataLineFeed
        else if (byte === LF) this.#state = State.start
        else this.#fail()
        return
      case State.trailerStart:
        if (byte === LF) this.#finish()
        else if (byte === CR) this.#state = State.end
        else {
          this.#state = State.trailer
          this.#overhead++
        }
        return
      case State.trailer:
        return this.#skip(byte, State.trailerEnd)
      default:
        return byte === LF ? this.#afterLine() : this.#fail()
    }
  }

  #takeSize(byte: number): void {
    const digit = hexDigit(byte)
    if (this.#left > MAX_SIZE_BEFORE_DIGIT) return this.#fail()
    if (digit >= 0) {
      this.#left = this.#left * 16 + digit
      if (++this.#overhead > MAX_OVERHEAD_BYTES) this.#fail()
    } else if (byte === CR) this.#state = State.extensionEnd
    else if (byte === LF) this.#afterLine()
    else if (byte === 0x3b || byte === 0x20 || byte === 0x09) this.#state = State.extension
    else this.#fail()
  }

  #skip(byte: number, end: number): void {
    if (byte === CR) this.#state = end
    else if (byte === LF) this.#afterLine()
    else if (++this.#overhead > MAX_OVERHEAD_BYTES) this.#fail()
  }

  /** A line has ended, after its CR or in the state that it ends. */
  #afterLine(): void {
    switch (this.#state) {
      case State.dataLineFeed:
        this.#state = State.start
        return
      case State.end:
        return this.#finish()
      case State.trailer:
      case State.trailerEnd:
        this.#state = State.trailerStart
        return
      default:
        this.#state = this.#left === 0 ? State.trailerStart : State.data
    }
  }

  #finish(): void {
    this.state = 'done'
  }

  #fail(): void {
    this.state = 'malformed'
  }
}

/** -1 for any other character. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1
}
