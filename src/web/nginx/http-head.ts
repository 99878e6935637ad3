/**
 * The head of an HTTP/1 request as nginx reads it (RFC 9112, with nginx's own tolerance), only far enough to know
 * what error page it deserves. For bytes that no HTTP stack of ours will see: a plain request on the TLS port.
 */
import { parseSiteHost } from './site-host.ts'
import { parseSitePath } from './site-path.ts'
import type { SpecialError } from './web-pages.ts'

/** nginx's `large_client_header_buffers 4 8k`. */
const MAX_LINE_BYTES = 8192
const MAX_HEAD_BYTES = 33 * 1024
/** More are refused as too large, though nginx looks at the size alone: nobody sends so many. */
const MAX_FIELDS = 100
/** All that the verdict depends on; the rest is looked at and not kept. */
const KEPT: ReadonlySet<string> = new Set(['host', 'content-length', 'transfer-encoding', 'user-agent'])

/** A request that is well formed as far as HTTP goes. */
export interface SoundHead {
  readonly kind: 'sound'
  readonly method: string
  /** `HTTP/0.9`: one line, and the answer has no head. */
  readonly bare: boolean
  readonly userAgent: string
  /** Declared, or infinite with chunks; what of it follows the head is `rest`. */
  readonly contentBytes: number
  readonly restBytes: number
}

export interface BadHead {
  readonly kind: 'bad'
  readonly status: 400 | 405 | 414 | 501 | 505
  readonly special?: SpecialError
}

export type HeadVerdict = SoundHead | BadHead

const BAD: BadHead = { kind: 'bad', status: 400 }
const TOO_LARGE: BadHead = { kind: 'bad', status: 400, special: 'header_too_large' }

const REQUEST_LINE = /^([A-Z_-]+) +([^ ]+)(?: +HTTP\/([1-9]\d?)\.(\d{1,2}) *)?$/
/** What a request line may be so far: for saying no before its end. */
const BEGINNING = /^(?:[A-Z_-]*|[A-Z_-]+ +(?:[/A-Za-z].*)?)$/s

/** Push chunks until there is a verdict; partial input is bounded by the limits above. */
export class HeadReader {
  #line = ''
  #total = 0
  #request: { method: string; target: string; minor: number } | undefined
  readonly #kept = new Map<string, string>()
  /** Fields of which a second one makes the head bad. */
  #repeated = false
  #fieldCount = 0

  /** Undefined: more is needed. */
  push(chunk: Buffer): HeadVerdict | undefined {
    let text = chunk.toString('latin1')
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = this.#line + text.slice(0, end)
      this.#line = ''
      text = text.slice(end + 1)
      this.#total += line.length + 1
      const verdict = this.#overlong(line) ?? this.#take(line.replace(/\r$/, ''), text.length)
      if (verdict) return verdict
    }
    this.#line += text
    const overlong = this.#overlong(this.#line)
    if (overlong) return overlong
    const partial = this.#line.trimStart()
    return this.#request === undefined && !BEGINNING.test(partial) ? BAD : undefined
  }

  #overlong(line: string): BadHead | undefined {
    if (line.length > MAX_LINE_BYTES)
      return this.#request === undefined ? { kind: 'bad', status: 414 } : TOO_LARGE
    return this.#total + line.length > MAX_HEAD_BYTES ? TOO_LARGE : undefined
  }

  #take(line: string, restBytes: number): HeadVerdict | undefined {
    if (this.#request === undefined) return line === '' ? undefined : this.#takeRequestLine(line)
    if (line === '') return this.#judge(restBytes)
    if (++this.#fieldCount > MAX_FIELDS) return TOO_LARGE
    return this.#takeField(line) ? undefined : BAD
  }

  #takeRequestLine(line: string): HeadVerdict | undefined {
    const match = REQUEST_LINE.exec(line)
    if (!match) return BAD
    const [, method = '', target = '', major, minor] = match
    if (splitTarget(target) === undefined) return BAD
    if (major === undefined) {
      const bare = { method, bare: true, userAgent: '', contentBytes: 0, restBytes: 0 } as const
      return method === 'GET' ? { kind: 'sound', ...bare } : BAD
    }
    if (Number(major) > 1) return { kind: 'bad', status: 505 }
    this.#request = { method, target, minor: Number(minor) }
    return undefined
  }

  #takeField(line: string): boolean {
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    // oxlint-disable-next-line no-control-regex
    if (/[\u0000-\u0020\u007f]/.test(name) || colon === 0 || line.includes('\0')) return false
    const key = name.toLowerCase()
    if (!KEPT.has(key)) return true
    if (!this.#kept.has(key)) this.#kept.set(key, colon < 0 ? '' : line.slice(colon + 1).trim())
    else if (key === 'host' || key === 'content-length') this.#repeated = true
    return true
  }

  #judge(restBytes: number): HeadVerdict {
    const { method, target, minor } = this.#request ?? { method: '', target: '', minor: 0 }
    if (this.#repeated) return BAD
    const authority = splitTarget(target)?.authority ?? this.#kept.get('host')
    if (authority === undefined ? minor > 0 : parseSiteHost(authority) === undefined || authority === '')
      return BAD
    const length = this.#kept.get('content-length')
    const coding = this.#kept.get('transfer-encoding')
    if (length !== undefined && !/^\d+$/.test(length)) return BAD
    if (coding !== undefined && minor > 0) {
      if (coding.toLowerCase() !== 'chunked') return { kind: 'bad', status: 501 }
      if (length !== undefined) return BAD
    }
    if (method === 'TRACE' || method === 'CONNECT') return { kind: 'bad', status: 405 }
    const userAgent = this.#kept.get('user-agent') ?? ''
    const contentBytes = Number(length ?? 0)
    return { kind: 'sound', method, bare: false, userAgent, contentBytes, restBytes }
  }
}

/** Origin-form or absolute-form; undefined when it is neither or its path is refused. */
function splitTarget(target: string): { authority: string | undefined } | undefined {
  const absolute = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]+)(.*)$/.exec(target)
  const path = absolute ? (absolute[2] ?? '') : target
  const valid = parseSitePath(path.startsWith('/') || !absolute ? path : `/${path}`)
  return valid === undefined ? undefined : { authority: absolute?.[1] }
}
