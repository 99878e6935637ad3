/**
 * The head of a request (RFC 9113 section 8.3), as tolerant and as strict as nginx is: what it answers with a page is
 * answered with a page, what it resets is reset.
 */
import type { RequestHeaders } from '../../contract/exchange.ts'
import type { FieldSink } from '../../wire/http2/hpack-decoder.ts'
import { FIRST_COUNTS, TAKEN_ONCE } from '../../wire/repeated-fields.ts'

/** nginx's `max_headers`, which Debian's 1.22 has too; cookies and fields that are ignored do not count. */
const MAX_FIELDS = 1000

/** Thrown out of the decoder: the block is larger than any request needs. */
export class HeadTooLarge extends Error {}
/** The same for a field without a name, which costs the connection. */
export class EmptyName extends Error {}

// oxlint-disable-next-line no-control-regex
const FORBIDDEN_IN_NAME = /[\u0000-\u0020\u007f:A-Z]/
/** nginx ignores fields with names of other characters, so `_` cannot pass for `-` behind us. */
const USUAL_NAME = /^[0-9a-z-]+$/
// oxlint-disable-next-line no-control-regex
const FORBIDDEN_IN_VALUE = /[\u0000\r\n]/
const METHOD = /^[A-Z_-]+$/
const SCHEME = /^[a-z][a-z0-9+.-]*$/i
/** Fields of one connection (section 8.2.2). nginx tolerates them; they must not get any further. */
const OF_A_CONNECTION: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

type PseudoField = 'method' | 'scheme' | 'path'

export class RequestHead implements FieldSink {
  method = ''
  scheme = ''
  path = ''
  /** As received: `:authority`, else `host`. */
  authority = ''
  /** A web server would answer this status, whatever is asked for. */
  refusal: number | undefined
  /** The stream is to be reset with PROTOCOL_ERROR. */
  isBroken = false
  readonly #fields: Record<string, string> = Object.create(null) as Record<string, string>
  #room: number
  #count = 0
  #hasHost = false
  /** `:authority` and `host`, or one of them twice, with one value. */
  #isHostRepeated = false
  #hasCoding = false

  /** @param maxBytes names and values, decoded. */
  constructor(maxBytes: number) {
    this.#room = maxBytes
  }

  /** No pseudo-header fields; repeated ones joined (RFC 9110 section 5.3). */
  get fields(): RequestHeaders {
    return this.#fields
  }

  /** Implements {@link FieldSink}. @throws HeadTooLarge, EmptyName */
  onField(name: string, value: string): void {
    this.#room -= name.length + value.length
    if (this.#room < 0) throw new HeadTooLarge()
    if (name === '') throw new EmptyName()
    if (this.isBroken) return
    const isPseudo = name.charCodeAt(0) === 0x3a
    if (FORBIDDEN_IN_NAME.test(isPseudo ? name.slice(1) : name) || FORBIDDEN_IN_VALUE.test(value))
      this.isBroken = true
    else if (isPseudo) this.#takePseudo(name, value)
    else if (USUAL_NAME.test(name)) this.#takeField(name, value)
  }

  /** Call it after the last field. */
  finish(endsStream: boolean): void {
    if (this.isBroken) return
    // nginx refuses these; a client that sends credentials gets further with what can only mean one thing.
    const isOurs = this.method === 'CONNECT' && 'proxy-authorization' in this.#fields
    if (this.#isHostRepeated && !isOurs) this.refuse(400)
    if (this.method === 'CONNECT') return this.#finishConnect(isOurs)
    if (this.method === '' || this.scheme === '' || this.path === '' || !this.#hasHost) this.refuse(400)
    const length = this.#fields['content-length']
    if (length === undefined) return
    if (!/^\d+$/.test(length) || this.#hasCoding || (endsStream && Number(length) > 0)) this.refuse(400)
  }

  #finishConnect(isOurs: boolean): void {
    if (this.authority === '') this.refuse(400)
    // Section 8.5: a CONNECT has neither.
    else if (!isOurs && (this.scheme !== '' || this.path !== '')) this.refuse(405)
  }

  /** The first reason counts. */
  refuse(status: number): void {
    this.refusal ??= status
  }

  #takePseudo(name: string, value: string): void {
    switch (name) {
      case ':method':
        return this.#set('method', value, METHOD)
      case ':scheme':
        return this.#set('scheme', value, SCHEME)
      case ':path':
        return this.#set('path', value, /^\//)
      case ':authority':
        return this.#takeHost(value)
      default:
        return this.refuse(400)
    }
  }

  #set(field: PseudoField, value: string, allowed: RegExp): void {
    if (this[field] !== '' || !allowed.test(value)) return this.refuse(400)
    this[field] = value
  }

  #takeHost(value: string): void {
    if (value === '' || (this.#hasHost && value !== this.authority)) return this.refuse(400)
    this.#isHostRepeated = this.#hasHost
    this.#hasHost = true
    this.authority = value
  }

  #takeField(name: string, value: string): void {
    if (name !== 'cookie' && ++this.#count > MAX_FIELDS) return this.refuse(400)
    if (name === 'host') this.#takeHost(value)
    if (name === 'transfer-encoding') this.#takeCoding(value)
    if (OF_A_CONNECTION.has(name)) return
    const before = this.#fields[name]
    if (before === undefined) this.#fields[name] = value
    else if (TAKEN_ONCE.has(name)) this.refuse(400)
    else if (!FIRST_COUNTS.has(name))
      this.#fields[name] = `${before}${name === 'cookie' ? '; ' : ', '}${value}`
  }

  #takeCoding(value: string): void {
    if (this.#hasCoding) return this.refuse(400)
    this.#hasCoding = true
    if (value.toLowerCase() !== 'chunked') this.refuse(501)
  }
}
