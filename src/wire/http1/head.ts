/**
 * The head of an HTTP/1 request (RFC 9112 sections 2 to 6) as nginx reads it: what it tolerates is tolerated, what it
 * refuses is refused with the same status, as soon as the byte has come that makes it so. The work is linear in the
 * size of the head, which is bounded (`head-room.ts`).
 */
import { FIRST_COUNTS, TAKEN_ONCE } from '../repeated-fields.ts'
import { parseSiteHost, parseSitePath } from '../site-path.ts'
import { EndOfLine } from './end-of-line.ts'
import { FieldLineReader } from './field-line.ts'
import { HeadRoom } from './head-room.ts'
import { RequestLineReader } from './request-line.ts'
import type { RequestLine, RequestTarget } from './request-line.ts'

export type ContentFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'sized'; readonly bytes: number }
  | { readonly kind: 'chunked' }

/** Why a head is refused; the label of a counter. */
type HeadFault =
  | 'request_line'
  | 'version'
  | 'line_too_long'
  | 'field'
  | 'fields_too_large'
  | 'repeated_field'
  | 'host'
  | 'content_length'
  | 'transfer_encoding'
  /** TRACE, or a CONNECT where there are no tunnels. */
  | 'method'

export interface SoundHead {
  readonly kind: 'sound'
  readonly method: string
  readonly target: RequestTarget
  /** 1 for any later minor version; undefined for HTTP/0.9, whose answers have no head. */
  readonly minor: 0 | 1 | undefined
  /**
   * Names in lower case; repeated fields joined by ", ", cookies by "; ". Of fields that cannot be a list, the first
   * counts. Without a prototype.
   */
  readonly headers: Readonly<Record<string, string>>
  /** The client would keep the connection. */
  readonly keepAlive: boolean
  readonly content: ContentFraming
}

export interface RefusedHead {
  readonly kind: 'refused'
  readonly status: 400 | 405 | 414 | 501 | 505
  readonly fault: HeadFault
  /** Empty while it was not known. */
  readonly method: string
  /** HTTP/0.9: the answer has no head. */
  readonly bare: boolean
  /** Empty while it was not known. */
  readonly userAgent: string
  /** What the client will send all the same. */
  readonly content: ContentFraming
}

export type Head = SoundHead | RefusedHead

const LF = 0x0a
const CR = 0x0d
const NONE: ContentFraming = { kind: 'none' }
const CHUNKED: ContentFraming = { kind: 'chunked' }
/** nginx's `max_headers`, which Debian's 1.22 has too; fields that are ignored do not count. */
const MAX_FIELDS = 1000
const MAX_LENGTH = 2n ** 63n - 1n

/** Push chunks until there is a head; {@link consumed} tells how much of the last chunk belongs to it. */
export class HeadReader {
  readonly #tunnels: boolean
  readonly #room = new HeadRoom()
  readonly #requestLine: RequestLineReader
  #request: RequestLine | undefined
  readonly #field = new FieldLineReader()
  /** The beginning of a line whose end has not come. */
  #partial = ''
  readonly #headers: Record<string, string> = Object.create(null) as Record<string, string>
  #fields = 0
  #keepAlive: boolean | undefined
  consumed = 0
  /** More has come than the empty lines that may precede a head. */
  begun = false

  /** With `tunnels` a CONNECT may name an authority, and is for the caller to judge; nginx knows no CONNECT. */
  constructor({ tunnels }: { tunnels: boolean }) {
    this.#tunnels = tunnels
    this.#requestLine = new RequestLineReader(tunnels)
  }

  /** Undefined means that more is needed. */
  push(chunk: Buffer): Head | undefined {
    let lineStart = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0
      if (!this.begun) {
        if (byte === LF || byte === CR) {
          lineStart = at + 1
          continue
        }
        this.begun = true
      }
      this.#room.take()
      const step = this.#request === undefined ? this.#requestLine.push(byte) : this.#field.push(byte)
      if (step === EndOfLine.more && this.#room.mayGrow()) continue
      const line = this.#partial + chunk.toString('latin1', lineStart, at + 1)
      this.#partial = ''
      lineStart = at + 1
      const head = this.#onStep(step, line)
      if (head === undefined) continue
      this.consumed = at + 1
      return head
    }
    this.#partial += chunk.toString('latin1', lineStart)
    this.consumed = chunk.length
    return undefined
  }

  #onStep(step: EndOfLine, line: string): Head | undefined {
    switch (step) {
      case EndOfLine.more:
        return this.#request === undefined
          ? this.#refuse(414, 'line_too_long', line)
          : this.#refuse(400, 'fields_too_large')
      case EndOfLine.last:
        return this.#finish()
      case EndOfLine.badVersion:
        return this.#refuse(505, 'version', line)
      case EndOfLine.bad:
        return this.#request === undefined
          ? this.#refuse(400, 'request_line', line)
          : this.#refuse(400, 'field')
      case EndOfLine.done:
        break
    }
    const head = this.#request === undefined ? this.#takeRequestLine(line) : this.#takeField(line)
    if (head !== undefined) return head
    this.#room.endLine()
    // A buffer that is full makes nginx ask for another at once.
    return this.#room.mayGrow() ? undefined : this.#refuse(400, 'fields_too_large')
  }

  #takeRequestLine(line: string): Head | undefined {
    const request = this.#requestLine.result(line)
    this.#request = request
    const { method, target, minor } = request
    const opensTunnel = this.#tunnels && method === 'CONNECT'
    if (minor === undefined && (method !== 'GET' || request.unusualHost))
      return this.#refuse(400, 'request_line')
    if (!opensTunnel && parseSitePath(target.path) === undefined) return this.#refuse(400, 'request_line')
    if (!opensTunnel && target.authority !== undefined && !isSoundHost(target.authority))
      return this.#refuse(400, 'host')
    return minor === undefined ? this.#accept(request, undefined, NONE) : undefined
  }

  #takeField(line: string): RefusedHead | undefined {
    const { ignored, nameEnd, valueStart, valueEnd } = this.#field
    this.#field.begin()
    if (ignored) return undefined
    if (++this.#fields > MAX_FIELDS) return this.#refuse(400, 'fields_too_large')
    const name = line.slice(0, nameEnd).toLowerCase()
    const value = line.slice(valueStart, valueEnd)
    const known = this.#headers[name]
    if (name === 'connection') this.#takeConnection(value)
    if (known === undefined) this.#headers[name] = value
    else if (TAKEN_ONCE.has(name)) return this.#refuse(400, 'repeated_field')
    else if (!FIRST_COUNTS.has(name))
      this.#headers[name] = `${known}${name === 'cookie' ? '; ' : ', '}${value}`
    return name === 'host' && !isSoundHost(value) ? this.#refuse(400, 'host') : undefined
  }

  /** nginx looks for these words anywhere in the value, and the last field that has one counts. */
  #takeConnection(value: string): void {
    if (/close/i.test(value)) this.#keepAlive = false
    else if (/keep-alive/i.test(value)) this.#keepAlive = true
  }

  /** The order is nginx's: it decides which fault is answered, and whether announced content is waited for. */
  #finish(): Head {
    const request = this.#request as RequestLine
    const minor = request.minor === 0 ? 0 : 1
    // What follows a CONNECT is for the tunnel, and only who asks for one by credentials is answered with more than a page.
    if (this.#tunnels && request.method === 'CONNECT') return this.#accept(request, minor, NONE)
    const { host, 'content-length': length, 'transfer-encoding': coding } = this.#headers
    if (host === undefined && minor > 0) return this.#refuse(400, 'host')
    const bytes = length === undefined ? 0 : parseLength(length)
    if (bytes === undefined) return this.#refuse(400, 'content_length')
    const sized: ContentFraming = bytes === 0 ? NONE : { kind: 'sized', bytes }
    if (coding !== undefined) {
      if (minor === 0) return this.#refuse(400, 'transfer_encoding', '', sized)
      if (coding.toLowerCase() !== 'chunked') return this.#refuse(501, 'transfer_encoding', '', sized)
      if (length !== undefined) return this.#refuse(400, 'transfer_encoding', '', sized)
    }
    const content = coding === undefined ? sized : CHUNKED
    if (request.method === 'TRACE' || request.method === 'CONNECT')
      return this.#refuse(405, 'method', '', content)
    if (request.unusualHost && !('proxy-authorization' in this.#headers))
      return this.#refuse(400, 'request_line')
    return this.#accept(request, minor, content)
  }

  #accept({ method, target }: RequestLine, minor: 0 | 1 | undefined, content: ContentFraming): SoundHead {
    const keepAlive = this.#keepAlive ?? minor === 1
    return { kind: 'sound', method, target, minor, headers: this.#headers, keepAlive, content }
  }

  /** `line` is as much of the request line as there is, when it has not been read whole. */
  #refuse(
    status: RefusedHead['status'],
    fault: HeadFault,
    line = '',
    content: ContentFraming = NONE,
  ): RefusedHead {
    const request = this.#request
    return {
      kind: 'refused',
      status,
      fault,
      method: request?.method ?? this.#requestLine.methodOf(line),
      bare: request !== undefined && request.minor === undefined,
      userAgent: this.#headers['user-agent'] ?? '',
      content,
    }
  }
}

function isSoundHost(authority: string): boolean {
  return authority !== '' && parseSiteHost(authority) !== undefined
}

/** Digits, and no more than a file may be large. */
function parseLength(text: string): number | undefined {
  if (!/^\d+$/.test(text)) return undefined
  const digits = text.replace(/^0+(?=\d)/, '')
  return digits.length > 19 || BigInt(digits) > MAX_LENGTH ? undefined : Number(digits)
}
