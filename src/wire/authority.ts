/**
 * The authority of a CONNECT: a TCP target or one of the pseudo-hosts (specification 5.1, 11.3, appendix A). A host
 * that the resolver's inet_aton would read as a number (`127.1`, `0x7f.1`, `2130706433`, `010.0.0.1`) is refused: it
 * would name an address that no one has checked.
 */
import { EndpointError } from '../errors.ts'
import { parseIpAddress } from './ip-address.ts'
import type { Authority, Target } from './target.ts'

/** RFC 1035 section 2.3.4: 255 octets on the wire are 253 characters of text. */
const MAX_NAME_LENGTH = 253
/** A name with its root dot, a colon and five digits. */
const MAX_AUTHORITY_LENGTH = MAX_NAME_LENGTH + 7

/** The decimal number after the last colon; no sign, at most five digits. */
const PORT = /^[0-9]{1,5}$/
const MAX_PORT = 65_535
/** Letters, digits and inner hyphens; underscores as in `_dmarc` and `_acme-challenge`. */
const NAME = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?$/i
/** What WHATWG and inet_aton take for a number: the last label decimal, octal or hexadecimal. */
const NUMERIC_TAIL = /(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$/i

/** RFC 9110 section 4.2.1. */
const HTTP_PORT = 80

const PSEUDO_HOSTS: Readonly<Record<string, Authority>> = {
  _udp2: { kind: 'udp' },
  _icmp: { kind: 'icmp' },
  _check: { kind: 'check' },
}

/**
 * Reads `:authority` or the authority-form target. A pseudo-host may have a port, which may be 0; everything else needs
 * one from 1 to 65535. Names keep their case and root dot.
 * @throws EndpointError `target_refused` for anything else.
 */
export function parseAuthority(text: string): Authority {
  if (text.length === 0 || text.length > MAX_AUTHORITY_LENGTH) throw refused('length')
  if (text.charCodeAt(0) === 0x5b) return parseBracketed(text)
  const colon = text.indexOf(':')
  const host = colon < 0 ? text : text.slice(0, colon)
  const pseudo = Object.hasOwn(PSEUDO_HOSTS, host) ? PSEUDO_HOSTS[host] : undefined
  if (pseudo !== undefined) {
    if (colon >= 0 && readPort(text.slice(colon + 1)) > MAX_PORT) throw refused('port')
    return pseudo
  }
  if (colon < 0) throw refused('port missing')
  const port = parsePort(text.slice(colon + 1))
  return parseHost(host, port)
}

/**
 * Reads the authority of an `http:` address, whose port may be left out. It names a server, never a pseudo-host.
 * @throws EndpointError `target_refused` for anything else.
 */
export function parseHttpAuthority(text: string): Target {
  const bare = text.endsWith(']') || !text.includes(':')
  const authority = parseAuthority(bare ? `${text}:${HTTP_PORT}` : text)
  if (authority.kind !== 'address' && authority.kind !== 'name') throw refused('pseudo-host')
  return authority
}

function parseBracketed(text: string): Target {
  const close = text.indexOf(']')
  if (close < 0 || text.charCodeAt(close + 1) !== 0x3a) throw refused('brackets')
  const parsed = parseIpAddress(text.slice(1, close))
  if (parsed?.family !== 6) throw refused('address')
  return { kind: 'address', address: parsed.address, family: 6, port: parsePort(text.slice(close + 2)) }
}

function parseHost(host: string, port: number): Target {
  const parsed = parseIpAddress(host)
  if (parsed !== undefined) return { kind: 'address', address: parsed.address, family: parsed.family, port }
  const length = host.endsWith('.') ? host.length - 1 : host.length
  if (length > MAX_NAME_LENGTH || !NAME.test(host) || NUMERIC_TAIL.test(host)) throw refused('host')
  return { kind: 'name', host, port }
}

function parsePort(text: string): number {
  const port = readPort(text)
  if (port < 1 || port > MAX_PORT) throw refused('port')
  return port
}

/** Infinity when `text` is not a port number. */
function readPort(text: string): number {
  return PORT.test(text) ? Number(text) : Infinity
}

/** The text form of a target, IPv6 in brackets. */
export function formatAuthority(target: Target): string {
  return target.kind === 'name' ? `${target.host}:${target.port}` : formatSocketAddress(target)
}

/** `192.0.2.1:443` or `[2001:db8::1]:443`. */
export function formatSocketAddress({ address, port }: { address: string; port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function refused(what: string): EndpointError {
  return new EndpointError('target_refused', `bad authority: ${what}`)
}

/**
 * The scheme of a request's target, in any case (RFC 3986 section 3.1); undefined when it is neither of the two, or
 * missing.
 */
export function parseScheme(text: string | undefined): 'http' | 'https' | undefined {
  const scheme = text?.toLowerCase()
  return scheme === 'http' || scheme === 'https' ? scheme : undefined
}
