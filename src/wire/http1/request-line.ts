/**
 * The request line of HTTP/1 (RFC 9112 section 3), byte by byte, with nginx's tolerance and refusals: the method is
 * capitals, `_` and `-`; several spaces may separate the parts; the target is a path or absolute; a line without a
 * version is HTTP/0.9; a line ends with LF, with or without CR before it.
 *
 *     method SP+ target [ SP+ "HTTP/" major "." minor SP* ] [CR] LF
 */
import { EndOfLine } from './end-of-line.ts'

const CR = 0x0d
const LF = 0x0a
const SPACE = 0x20
const HYPHEN = 0x2d
const DOT = 0x2e
const SLASH = 0x2f
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const QUESTION = 0x3f
const UNDERSCORE = 0x5f
const DELETE = 0x7f

const CONNECT = Buffer.from('CONNECT')
const VERSION_NAME = Buffer.from('HTTP/')
const MAX_MINOR = 99

const State = {
  method: 0,
  beforeTarget: 1,
  scheme: 2,
  schemeSlash: 3,
  schemeSlashSlash: 4,
  hostStart: 5,
  host: 6,
  literal: 7,
  afterLiteral: 8,
  port: 9,
  path: 10,
  authority: 11,
  afterTarget: 12,
  versionName: 13,
  majorStart: 14,
  major: 15,
  minorStart: 16,
  minor: 17,
  afterVersion: 18,
  carriageReturn: 19,
} as const

export interface RequestTarget {
  /** As written; undefined in origin-form. */
  readonly scheme: string | undefined
  /** Host and port of the absolute form, or the whole target of a CONNECT that is no path. */
  readonly authority: string | undefined
  /** Begins with `/`; empty for a CONNECT to an authority. */
  readonly path: string
}

export interface RequestLine {
  readonly method: string
  readonly target: RequestTarget
  /** The minor version of HTTP/1; undefined for HTTP/0.9. */
  readonly minor: number | undefined
  /** The host has a character that nginx does not accept in a request line, though names may have it. */
  readonly unusualHost: boolean
}

/** Push the bytes of one line; `result` reads it once it has ended. */
export class RequestLineReader {
  readonly #tunnels: boolean
  #state: number = State.method
  #at = 0
  /** How many bytes of the method, then of the version's name, are those of the word that is looked for. */
  #matched = 0
  #methodEnd = 0
  #schemeStart = 0
  #schemeEnd = 0
  #authorityStart = 0
  #pathStart = 0
  #targetEnd = 0
  #minor: number | undefined
  #unusualHost = false

  /**
   * With `tunnels`, the line may be that of a client of ours: a CONNECT may name an authority, and a host in an absolute
   * target may have `_`. nginx accepts neither.
   */
  constructor(tunnels: boolean) {
    this.#tunnels = tunnels
  }

  /** `line` is what was pushed so far; empty while the method is not complete. */
  methodOf(line: string): string {
    return line.slice(0, this.#methodEnd)
  }

  push(byte: number): EndOfLine {
    this.#at++
    switch (this.#state) {
      case State.method:
        return this.#takeMethod(byte)
      case State.beforeTarget:
        return this.#beginTarget(byte)
      case State.path:
      case State.authority:
        return this.#takeTarget(byte)
      case State.scheme:
      case State.schemeSlash:
      case State.schemeSlashSlash:
        return this.#takeScheme(byte)
      case State.hostStart:
      case State.host:
      case State.literal:
      case State.afterLiteral:
      case State.port:
        return this.#takeHost(byte)
      case State.carriageReturn:
        return byte === LF ? EndOfLine.done : EndOfLine.bad
      default:
        return this.#takeVersion(byte)
    }
  }

  #takeMethod(byte: number): EndOfLine {
    if ((byte >= 0x41 && byte <= 0x5a) || byte === UNDERSCORE || byte === HYPHEN) {
      if (byte === CONNECT[this.#at - 1]) this.#matched++
      return EndOfLine.more
    }
    if (byte !== SPACE || this.#at === 1) return EndOfLine.bad
    this.#methodEnd = this.#at - 1
    this.#state = State.beforeTarget
    return EndOfLine.more
  }

  #beginTarget(byte: number): EndOfLine {
    if (byte === SPACE) return EndOfLine.more
    const at = this.#at - 1
    this.#schemeStart = this.#authorityStart = this.#pathStart = at
    if (byte === SLASH) this.#state = State.path
    else if (this.#wantsTunnel && byte > SPACE && byte < DELETE) this.#state = State.authority
    else if (isLetter(byte)) this.#state = State.scheme
    else return EndOfLine.bad
    return EndOfLine.more
  }

  get #wantsTunnel(): boolean {
    return this.#tunnels && this.#methodEnd === CONNECT.length && this.#matched === CONNECT.length
  }

  #takeTarget(byte: number): EndOfLine {
    if (byte > SPACE && byte !== DELETE)
      return this.#state === State.path || byte < DELETE ? EndOfLine.more : EndOfLine.bad
    this.#targetEnd = this.#at - 1
    if (byte === SPACE) this.#state = State.afterTarget
    else return this.#endOld(byte)
    return EndOfLine.more
  }

  /** A line that ends without a version. */
  #endOld(byte: number): EndOfLine {
    if (byte === LF) return EndOfLine.done
    if (byte !== CR) return EndOfLine.bad
    this.#state = State.carriageReturn
    return EndOfLine.more
  }

  #takeScheme(byte: number): EndOfLine {
    if (this.#state === State.scheme) {
      if (isLetter(byte) || isDigit(byte) || byte === 0x2b || byte === HYPHEN || byte === DOT)
        return EndOfLine.more
      if (byte !== COLON) return EndOfLine.bad
      this.#schemeEnd = this.#at - 1
      this.#state = State.schemeSlash
      return EndOfLine.more
    }
    if (byte !== SLASH) return EndOfLine.bad
    if (this.#state === State.schemeSlash) this.#state = State.schemeSlashSlash
    else {
      this.#state = State.hostStart
      this.#authorityStart = this.#at
    }
    return EndOfLine.more
  }

  #takeHost(byte: number): EndOfLine {
    const state = this.#state
    if (state === State.hostStart && byte === 0x5b) {
      this.#state = State.literal
      return EndOfLine.more
    }
    if (state === State.literal) {
      if (byte === 0x5d) this.#state = State.afterLiteral
      else if (!isLiteralCharacter(byte)) return EndOfLine.bad
      return EndOfLine.more
    }
    if (state === State.port && isDigit(byte)) return EndOfLine.more
    if (state === State.hostStart || state === State.host) {
      const unusual = byte === UNDERSCORE && this.#tunnels
      if (isLetter(byte) || isDigit(byte) || byte === DOT || byte === HYPHEN || unusual) {
        this.#state = State.host
        this.#unusualHost ||= unusual
        return EndOfLine.more
      }
    }
    return this.#endHost(byte)
  }

  #endHost(byte: number): EndOfLine {
    this.#pathStart = this.#at - 1
    if (byte === COLON && this.#state !== State.port) this.#state = State.port
    else if (byte === SLASH || byte === QUESTION) this.#state = State.path
    else if (byte === SPACE) {
      this.#targetEnd = this.#at - 1
      this.#state = State.afterTarget
    } else return EndOfLine.bad
    return EndOfLine.more
  }

  #takeVersion(byte: number): EndOfLine {
    switch (this.#state) {
      case State.afterTarget:
        if (byte === SPACE) return EndOfLine.more
        if (byte !== VERSION_NAME[0]) return this.#endOld(byte)
        this.#matched = 1
        this.#state = State.versionName
        return EndOfLine.more
      case State.versionName:
        if (byte !== VERSION_NAME[this.#matched]) return EndOfLine.bad
        if (++this.#matched === VERSION_NAME.length) this.#state = State.majorStart
        return EndOfLine.more
      case State.majorStart:
        if (byte <= ZERO || byte > NINE) return EndOfLine.bad
        if (byte !== ZERO + 1) return EndOfLine.badVersion
        this.#state = State.major
        return EndOfLine.more
      case State.major:
        if (byte !== DOT) return isDigit(byte) ? EndOfLine.badVersion : EndOfLine.bad
        this.#state = State.minorStart
        return EndOfLine.more
      default:
        return this.#takeMinor(byte)
    }
  }

  #takeMinor(byte: number): EndOfLine {
    if (isDigit(byte) && this.#state !== State.afterVersion) {
      const minor = this.#minor ?? 0
      if (minor > MAX_MINOR) return EndOfLine.bad
      this.#minor = minor * 10 + byte - ZERO
      this.#state = State.minor
      return EndOfLine.more
    }
    if (this.#state === State.minorStart) return EndOfLine.bad
    if (byte === LF) return EndOfLine.done
    if (byte === CR) this.#state = State.carriageReturn
    else if (byte === SPACE) this.#state = State.afterVersion
    else return EndOfLine.bad
    return EndOfLine.more
  }

  /** `line` is everything that was pushed. */
  result(line: string): RequestLine {
    const target = {
      scheme: this.#schemeEnd > 0 ? line.slice(this.#schemeStart, this.#schemeEnd) : undefined,
      authority: undefined,
      path: line.slice(this.#pathStart, this.#targetEnd),
    }
    return {
      method: this.methodOf(line),
      target: target.scheme === undefined ? this.#connectTarget(target) : this.#absoluteTarget(target, line),
      minor: this.#minor,
      unusualHost: this.#unusualHost,
    }
  }

  #absoluteTarget(target: RequestTarget, line: string): RequestTarget {
    const authority = line.slice(this.#authorityStart, this.#pathStart)
    const { scheme, path } = target
    return { scheme, authority, path: path.startsWith('/') ? path : `/${path}` }
  }

  #connectTarget(target: RequestTarget): RequestTarget {
    const { path } = target
    return path.startsWith('/') ? target : { scheme: undefined, authority: path, path: '' }
  }
}

function isLetter(byte: number): boolean {
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x7a
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE
}

const LITERAL: ReadonlySet<number> = new Set(Buffer.from(":-._~!$&'()*+,;="))

function isLiteralCharacter(byte: number): boolean {
  return isLetter(byte) || isDigit(byte) || LITERAL.has(byte)
}
