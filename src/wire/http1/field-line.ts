/**
 * A field line of HTTP/1 (RFC 9112 section 5), byte by byte, with nginx's tolerance and refusals: a line without a colon
 * is a field with an empty value; a field whose name has characters other than letters, digits and `-` is ignored, so
 * `_` cannot pass for `-` behind us; spaces and control characters in a name, a folded line and NUL are refused.
 *
 *     name [ ":" SP* value SP* ] [CR*] LF
 */
import { EndOfLine } from './end-of-line.ts'

const CR = 0x0d
const LF = 0x0a
const SPACE = 0x20
const COLON = 0x3a

const State = {
  start: 0,
  name: 1,
  beforeValue: 2,
  value: 3,
  afterValue: 4,
  carriageReturn: 5,
  lastCarriageReturn: 6,
} as const

const Kind = { usual: 0, unusual: 1, forbidden: 2 } as const
const KINDS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte <= SPACE || byte === 0x7f) return Kind.forbidden
  return /[A-Za-z0-9-]/.test(String.fromCharCode(byte)) ? Kind.usual : Kind.unusual
})

/** Push the bytes of one line; when it is complete, the positions in it are known. {@link begin} starts the next. */
export class FieldLineReader {
  #state: number = State.start
  #at = 0
  nameEnd = 0
  valueStart = 0
  valueEnd = 0
  /** Has a name that is not for us. */
  ignored = false

  begin(): void {
    this.#state = State.start
    this.#at = this.nameEnd = this.valueStart = this.valueEnd = 0
    this.ignored = false
  }

  push(byte: number): EndOfLine {
    const at = this.#at++
    switch (this.#state) {
      case State.value:
        if (byte === SPACE) {
          this.valueEnd = at
          this.#state = State.afterValue
        } else if (byte === LF || byte === CR) {
          this.valueEnd = at
          return this.#end(byte)
        } else if (byte === 0) return EndOfLine.bad
        return EndOfLine.more
      case State.name:
        return this.#takeName(byte, at)
      case State.start:
        return this.#begin(byte)
      case State.beforeValue:
      case State.afterValue:
        return this.#takeSpace(byte, at)
      case State.carriageReturn:
        if (byte === LF) return EndOfLine.done
        return byte === CR ? EndOfLine.more : EndOfLine.bad
      default:
        return byte === LF ? EndOfLine.last : EndOfLine.bad
    }
  }

  #begin(byte: number): EndOfLine {
    if (byte === LF) return EndOfLine.last
    if (byte === CR) {
      this.#state = State.lastCarriageReturn
      return EndOfLine.more
    }
    const kind = KINDS[byte]
    if (kind === Kind.forbidden || byte === COLON) return EndOfLine.bad
    this.ignored = kind === Kind.unusual
    this.#state = State.name
    return EndOfLine.more
  }

  #takeName(byte: number, at: number): EndOfLine {
    if (KINDS[byte] === Kind.usual) return EndOfLine.more
    if (byte === COLON) {
      this.nameEnd = at
      this.#state = State.beforeValue
      return EndOfLine.more
    }
    if (byte === LF || byte === CR) {
      this.nameEnd = this.valueStart = this.valueEnd = at
      return this.#end(byte)
    }
    if (KINDS[byte] === Kind.forbidden) return EndOfLine.bad
    this.ignored = true
    return EndOfLine.more
  }

  #takeSpace(byte: number, at: number): EndOfLine {
    if (byte === SPACE) return EndOfLine.more
    if (byte === 0) return EndOfLine.bad
    const before = this.#state === State.beforeValue
    if (byte === LF || byte === CR) {
      if (before) this.valueStart = this.valueEnd = at
      return this.#end(byte)
    }
    if (before) this.valueStart = at
    this.#state = State.value
    return EndOfLine.more
  }

  #end(byte: number): EndOfLine {
    if (byte === LF) return EndOfLine.done
    this.#state = State.carriageReturn
    return EndOfLine.more
  }
}
