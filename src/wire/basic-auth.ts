/**
 * Basic credentials (specification 9.1, RFC 7617). The scheme is read in any case, the base64 strictly: standard
 * alphabet, padded, canonical, nothing else inside. Failure is a value: it is as common as success on an
 * endpoint that strangers probe, and costs no more.
 */
import { isUtf8 } from 'node:buffer'

export interface BasicCredentials {
  readonly username: string
  /** Any bytes but NUL. They belong to the caller, who may wipe them. */
  readonly password: Buffer
}

/** Longest header value that is looked at; the limits of the transports are far above it. */
const MAX_HEADER_LENGTH = 4096
const SCHEME = /^basic +/i
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?$/
const COLON = 0x3a

/** Credentials of an `authorization` or `proxy-authorization` value; undefined when it holds none. */
export function parseBasicAuth(header: string | undefined): BasicCredentials | undefined {
  if (header === undefined || header.length > MAX_HEADER_LENGTH) return undefined
  const scheme = SCHEME.exec(header)
  if (scheme === null) return undefined
  const encoded = header.slice(scheme[0].length)
  if (!BASE64.test(encoded)) return undefined
  const bytes = Buffer.from(encoded, 'base64')
  // Bits beyond the last byte must be zero, or several texts would mean the same credentials.
  if (bytes.toString('base64') !== encoded) return undefined
  const colon = bytes.indexOf(COLON)
  if (colon < 0 || bytes.includes(0)) return undefined
  const name = bytes.subarray(0, colon)
  if (!isUtf8(name)) return undefined
  return { username: name.toString(), password: bytes.subarray(colon + 1) }
}

/** The header value for these credentials. The username holds no colon; that is the caller's to check. */
export function encodeBasicAuth(username: string, password: string | Uint8Array): string {
  const secret = typeof password === 'string' ? Buffer.from(password) : password
  return `Basic ${Buffer.concat([Buffer.from(`${username}:`), secret]).toString('base64')}`
}
