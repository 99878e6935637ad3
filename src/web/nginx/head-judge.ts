/**
 * What nginx makes of the head of an HTTP/1 request (RFC 9112, with nginx's own tolerance), only as far as it takes to
 * know which error page the head deserves. It is given the parts, wherever they come from: `http-head.ts` finds them in
 * bytes, `answer-head.ts` gets them from a parser.
 */
import { parseSiteHost, parseSitePath } from '../../wire/site-path.ts'
import type { SpecialError } from './web-pages.ts'

/** nginx's `large_client_header_buffers 4 8k`. */
const MAX_LINE_BYTES = 8192
const MAX_HEAD_BYTES = 33 * 1024
/** Everything that the verdict depends on; other fields are checked and not kept. */
const KEPT: ReadonlySet<string> = new Set(['host', 'content-length', 'transfer-encoding', 'user-agent'])

/** A request that is well-formed as far as HTTP goes. */
interface SoundHead {
  readonly kind: 'sound'
  readonly method: string
  /** `HTTP/0.9`: one line, and the answer has no head. */
  readonly bare: boolean
  readonly userAgent: string
  /** As declared, or infinite with chunks; `rest` is the part of it that arrived with the head. */
  readonly contentBytes: number
  readonly restBytes: number
}

interface BadHead {
  readonly kind: 'bad'
  readonly status: 400 | 405 | 414 | 501 | 505
  readonly special?: SpecialError
}

export type HeadVerdict = SoundHead | BadHead

export const BAD: BadHead = { kind: 'bad', status: 400 }
export const TOO_LARGE: BadHead = { kind: 'bad', status: 400, special: 'header_too_large' }

const METHOD = /^[A-Z_-]+$/

interface RequestLine {
  readonly method: string
  readonly target: string
  /** Undefined for `HTTP/0.9`, which has none. */
  readonly version: { readonly major: number; readonly minor: number } | undefined
}

/** Each step gives a verdict as soon as there is one; after `finish` there always is one. */
export class HeadJudge {
  #total = 0
  #request: RequestLine | undefined
  readonly #kept = new Map<string, string>()
  /** A field was repeated that may occur only once. */
  #repeated = false

  get hasRequest(): boolean {
    return this.#request !== undefined
  }

  /** A line of this length, without its end, is complete. */
  takeLine(bytes: number): BadHead | undefined {
    this.#total += bytes + 1
    return this.overlong(bytes, 0)
  }

  /** Checks the limits for a line of which this much has arrived; `more` has not been counted yet. */
  overlong(line: number, more = line): BadHead | undefined {
    if (line > MAX_LINE_BYTES) return this.#request === undefined ? { kind: 'bad', status: 414 } : TOO_LARGE
    return this.#total + more > MAX_HEAD_BYTES ? TOO_LARGE : undefined
  }

  takeRequest(request: RequestLine): HeadVerdict | undefined {
    const { method, target, version } = request
    if (!METHOD.test(method) || splitTarget(target) === undefined) return BAD
    if (version === undefined) {
      const bare = { method, bare: true, userAgent: '', contentBytes: 0, restBytes: 0 } as const
      return method === 'GET' ? { kind: 'sound', ...bare } : BAD
    }
    if (version.major < 1) return BAD
    if (version.major > 1) return { kind: 'bad', status: 505 }
    this.#request = request
    return undefined
  }

  takeField(name: string, value: string): BadHead | undefined {
    // oxlint-disable-next-line no-control-regex
    if (name === '' || /[\u0000-\u0020\u007f]/.test(name) || value.includes('\0')) return BAD
    const key = name.toLowerCase()
    if (!KEPT.has(key)) return undefined
    if (!this.#kept.has(key)) this.#kept.set(key, value.trim())
    else if (key === 'host' || key === 'content-length') this.#repeated = true
    return undefined
  }

  finish(restBytes: number): HeadVerdict {
    const { method = '', target = '', version } = this.#request ?? {}
    const minor = version?.minor ?? 0
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
