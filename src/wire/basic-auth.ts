/**
 * Basic credentials (specification 9.1, RFC 7617). The scheme is read in any case, the base64 strictly: standard
 * alphabet, padded, canonical, nothing else in between. A failure is a value, not an exception: on an endpoint that
 * strangers probe it is as common as success, and must cost no more.
 */
import { isUtf8 } from 'node:buffer'

interface BasicCredentials {
  readonly username: string
  /** Any bytes except NUL. They belong to the caller, who may wipe them. */
  readonly password: Buffer
}

/** Longest header value that is looked at; the transports' own limits are far above it. */
const MAX_HEADER_LENGTH = 4096
const SCHEME = /^basic +/i
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?$/
const COLON = 0x3a

/** The credentials in an `authorization` or `proxy-authorization` value; undefined when there are none. */
export function parseBasicAuth(header: string | undefined): BasicCredentials | undefined {
  if (header === undefined || header.length > MAX_HEADER_LENGTH) return undefined
  const scheme = SCHEME.exec(header)
  if (scheme === null) return undefined
  const encoded = header.slice(scheme[0].length)
  if (!BASE64.test(encoded)) return undefined
  const bytes = Buffer.from(encoded, 'base64')
  // Bits after the last byte must be zero, or several texts would mean the same credentials.
  if (bytes.toString('base64') !== encoded) return undefined
  const colon = bytes.indexOf(COLON)
  if (colon < 0 || bytes.includes(0)) return undefined
  const name = bytes.subarray(0, colon)
  if (!isUtf8(name)) return undefined
  return { username: name.toString(), password: bytes.subarray(colon + 1) }
}

/** The header value for these credentials. The caller has checked that the username contains no colon. */
export function encodeBasicAuth(username: string, password: string | Uint8Array): string {
  const secret = typeof password === 'string' ? Buffer.from(password) : password
  return `Basic ${Buffer.concat([Buffer.from(`${username}:`), secret]).toString('base64')}`
}
