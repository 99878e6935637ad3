/** Field sections of HTTP/3 messages: which are malformed (RFC 9114 sections 4.1.2 to 4.3, 10.3), and what we send. */
import type { RequestHeaders, RequestScheme, ResponseHeaders } from '../../contract/exchange.ts'
import type { Http3Field } from './native.ts'
import { parseScheme } from '../../wire/authority.ts'

/** All names and values of one request together, in bytes; more is H3_EXCESSIVE_LOAD. */
const MAX_FIELD_SECTION_BYTES = 64 * 1024
const MAX_FIELDS = 128

export interface RequestHead {
  readonly method: string
  readonly scheme: RequestScheme | undefined
  readonly authority: string
  readonly path: string | undefined
  readonly headers: RequestHeaders
  /** From `content-length`. */
  readonly contentBytes: number | undefined
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/u
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/u
// oxlint-disable-next-line no-control-regex
const FORBIDDEN_IN_VALUE = /[\0\r\n]/u
/** What no part of a URI contains (RFC 3986 section 2); a web server refuses it as well. */
// oxlint-disable-next-line no-control-regex
const FORBIDDEN_IN_URI = /[\0- \x7f]/u
const DIGITS = /^\d{1,15}$/u
const PSEUDO_NAMES = new Set([':method', ':scheme', ':authority', ':path'])
/** RFC 9114 section 4.2. */
const CONNECTION_NAMES = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

/** Whether a section is larger than any that a client sends. */
export function isOversized(fields: readonly Http3Field[]): boolean {
  return fields.length > MAX_FIELDS || fieldSectionBytes(fields) > MAX_FIELD_SECTION_BYTES
}

/** Names and values. */
export function fieldSectionBytes(fields: readonly Http3Field[]): number {
  let bytes = 0
  for (const { name, value } of fields) bytes += name.length + value.length
  return bytes
}

/** The head of a request; undefined when it is malformed. */
export function parseRequestHead(fields: readonly Http3Field[]): RequestHead | undefined {
  const pseudo = new Map<string, string>()
  // The client chooses the names: `constructor` and the like must not find anything.
  const headers = Object.create(null) as Record<string, string>
  let regular = false
  for (const { name, value } of fields) {
    if (FORBIDDEN_IN_VALUE.test(value)) return undefined
    if (name.startsWith(':')) {
      if (regular || !PSEUDO_NAMES.has(name) || pseudo.has(name) || FORBIDDEN_IN_URI.test(value))
        return undefined
      pseudo.set(name, value)
      continue
    }
    regular = true
    if (!isAllowed(name, value)) return undefined
    const before = headers[name]
    headers[name] = before === undefined ? value : before + (name === 'cookie' ? '; ' : ', ') + value
  }
  return composeHead(pseudo, headers)
}

/** Whether a second section of a request may follow the content. */
export function isTrailerSection(fields: readonly Http3Field[]): boolean {
  return fields.every(({ name, value }) => isAllowed(name, value) && !FORBIDDEN_IN_VALUE.test(value))
}

function isAllowed(name: string, value: string): boolean {
  if (!TOKEN.test(name) || CONNECTION_NAMES.has(name)) return false
  return name !== 'te' || value.toLowerCase() === 'trailers'
}

function composeHead(pseudo: Map<string, string>, headers: Record<string, string>): RequestHead | undefined {
  const method = pseudo.get(':method')
  const authority = pseudo.get(':authority')
  const path = pseudo.get(':path')
  if (method === undefined || !METHOD.test(method)) return undefined
  const length = headers['content-length']
  if (length !== undefined && !DIGITS.test(length)) return undefined
  const contentBytes = length === undefined ? undefined : Number(length)
  if (method === 'CONNECT') {
    // RFC 9114 section 4.4.
    if (!authority || path !== undefined || pseudo.has(':scheme')) return undefined
    return { method, scheme: undefined, authority, path: undefined, headers, contentBytes: undefined }
  }
  const scheme = pseudo.get(':scheme')
  if (!path || !scheme) return undefined
  // Section 4.3.1: one of the two, not empty, and not contradicting each other.
  const host = authority ?? headers.host
  if (!host || (headers.host !== undefined && headers.host !== host) || FORBIDDEN_IN_URI.test(host))
    return undefined
  return { method, scheme: parseScheme(scheme), authority: host, path, headers, contentBytes }
}

/** The fields of a response. Names become lower case; fields that HTTP/3 forbids are left out. */
export function composeResponse(status: number, headers: ResponseHeaders): Http3Field[] {
  const fields: Http3Field[] = [{ name: ':status', value: String(status) }]
  for (const [key, value] of Object.entries(headers)) {
    const name = key.toLowerCase()
    if (CONNECTION_NAMES.has(name)) continue
    if (typeof value === 'string') fields.push({ name, value })
    else for (const item of value) fields.push({ name, value: item })
  }
  return fields
}
