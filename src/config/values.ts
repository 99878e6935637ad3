/** Text formats that the files use beyond TOML's own types: addresses, CIDR, host names, paths, hex. */
import { TomlDate } from 'smol-toml'
import { parseHostName, parseNamePattern } from '../wire/host-name.ts'
import { parseIpAddress } from '../wire/ip-address.ts'
import { normalizePeerAddress } from '../wire/ip-kind.ts'
import { parseIpPrefix } from '../wire/ip-prefix.ts'
import { parseHex, parseRandomPrefix } from '../wire/random-prefix.ts'
import type { HttpOrigin, PassTarget, PortRange, SocketAddress } from '../wire/target.ts'
import { value, type ValueOptions } from './schema.ts'

const MAX_PORT = 65_535
const DNS_PORT = 53

interface TextValueOptions extends ValueOptions {
  readonly default?: string | null
  readonly example?: string
}

/** `192.0.2.1:443` or `[2001:db8::1]:443`; an IPv4-mapped address becomes IPv4. */
export function parseAddressPort(text: string): SocketAddress | undefined {
  const [, bracketed, dotted, portText] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text) ?? []
  const literal = parseIpAddress(bracketed ?? dotted ?? '')
  const port = Number(portText)
  if (literal?.family !== (bracketed === undefined ? 4 : 6) || port > MAX_PORT) return undefined
  const peer = normalizePeerAddress(literal.address)
  return peer && { ...peer, port }
}

/** `host:port`, `192.0.2.1:443`, `[2001:db8::1]:443` or `unix:/path`. */
export function parsePassTarget(text: string): PassTarget | undefined {
  if (text.startsWith('unix:/')) return { path: text.slice('unix:'.length) }
  const literal = parseAddressPort(text)
  if (literal !== undefined)
    return literal.port === 0 ? undefined : { host: literal.address, port: literal.port }
  const match = /^([^:[\]]+):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const host = parseHostName(match[1] ?? '')
  const port = Number(match[2])
  return host !== undefined && port >= 1 && port <= MAX_PORT ? { host, port } : undefined
}

/** `http://host` or `https://host:port`. No other part of a URL would ever be sent, so accepting one would mislead. */
export function parseHttpOrigin(text: string): HttpOrigin | undefined {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined
  const rest = `${url.search}${url.hash}${url.username}${url.password}`
  if (url.hostname === '' || url.pathname !== '/' || rest !== '') return undefined
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return { protocol: url.protocol, host, port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80) }
}

/** `443` or `6881-6889`. */
export function parsePortRange(text: string): PortRange | undefined {
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? []
  const [from, to] = [Number(first), Number(last)]
  return from >= 1 && to <= MAX_PORT && from <= to ? { from, to } : undefined
}

/** An address, optionally with a zone and a port. With a port, IPv6 is in brackets. */
export function parseDnsServer(text: string): SocketAddress | undefined {
  const withPort = parseAddressPort(text)
  if (withPort !== undefined) return withPort.port === 0 ? undefined : withPort
  const [, bare = '', zone = ''] = /^([^%]*)(%[\w.-]+)?$/.exec(text.replace(/^\[(.*)\]$/, '$1')) ?? []
  const literal = parseIpAddress(bare)
  if (literal === undefined || (zone !== '' && literal.family === 4)) return undefined
  return { address: literal.address + zone, family: literal.family, port: DNS_PORT }
}

/** Builds a field for text that `parse` understands. */
export function parsed<T, const O extends TextValueOptions>(
  type: string,
  allowed: string,
  parse: (text: string) => T | undefined,
  options: O,
) {
  return value(type, allowed, (raw) => (typeof raw === 'string' ? parse(raw) : undefined), options)
}

/** Builds a field for text that passes `test`. */
function tested<const O extends TextValueOptions>(
  type: string,
  allowed: string,
  test: (text: string) => boolean,
  options: O,
) {
  return parsed(type, allowed, (text) => (test(text) ? text : undefined), options)
}

export function addressPort<const O extends TextValueOptions>(options: O) {
  return parsed(
    'address:port',
    'an address and port, "192.0.2.1:443" or "[2001:db8::1]:443"',
    parseAddressPort,
    options,
  )
}

export function passTarget<const O extends TextValueOptions>(options: O) {
  return parsed('host:port or unix:/path', '"host:port" or "unix:/path"', parsePassTarget, options)
}

export function hostname<const O extends TextValueOptions & { wildcard?: boolean }>(options: O) {
  const wildcard = options.wildcard ?? false
  const allowed = wildcard ? 'a host name, also "*.example.org"' : 'a host name'
  return parsed('host name', allowed, wildcard ? parseNamePattern : parseHostName, options)
}

export function cidr<const O extends TextValueOptions>(options: O) {
  return parsed('CIDR', 'an address or CIDR, "192.0.2.0/24" or "2001:db8::/32"', parseIpPrefix, options)
}

export function hex<const O extends TextValueOptions>(options: O) {
  return parsed('hex', 'whole bytes in hexadecimal', parseHex, options)
}

export function randomPrefix<const O extends TextValueOptions>(options: O) {
  return parsed('hex[/hexmask]', 'hexadecimal "aabb" or with a mask "aabb/ff0f"', parseRandomPrefix, options)
}

/** RFC 3339 with an offset: without one it would mean a different moment on another machine. */
const DATE_TIME = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/

/** Milliseconds since the Unix epoch, from TOML's own date-time or from text. */
function parseDateTime(raw: unknown): number | undefined {
  if (raw instanceof TomlDate) return raw.isDateTime() && !raw.isLocal() ? raw.getTime() : undefined
  if (typeof raw !== 'string' || !DATE_TIME.test(raw)) return undefined
  const time = Date.parse(raw)
  return Number.isNaN(time) ? undefined : time
}

export function dateTime<const O extends TextValueOptions>(options: O) {
  return value(
    'date and time',
    'a date and time with its offset, 2027-01-31T12:00:00Z',
    parseDateTime,
    options,
  )
}

export function filePath<const O extends TextValueOptions>(options: O) {
  return tested('path', 'a path', (text) => text !== '' && !text.includes('\0'), options)
}

/** A request path: the part of a URL after the host. Any text passes here; `cross-checks.ts` judges it. */
export function urlPath<const O extends TextValueOptions>(options: O) {
  return tested('request path', 'a path that starts with "/"', () => true, options)
}

export function httpOrigin<const O extends TextValueOptions>(options: O) {
  return parsed('URL', 'http or https with a host, and a port if wanted', parseHttpOrigin, options)
}
