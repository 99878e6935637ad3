/** The forms of text that the files use beyond TOML's own types: addresses, CIDR, host names, paths, hex. */
import { isIP } from 'node:net'
import { parseIpPrefix } from '../wire/ip-prefix.ts'
import { value, type ValueOptions } from './schema.ts'

/** An address literal with a port; `address` without brackets. */
export interface AddressPort {
  readonly address: string
  readonly port: number
}

/** Where a connection is handed on to, in the form that `net.connect` takes. */
export type PassTarget = { readonly host: string; readonly port: number } | { readonly path: string }

export interface TextValueOptions extends ValueOptions {
  readonly default?: string | null
  readonly example?: string
}

/** `192.0.2.1:443` or `[2001:db8::1]:443`. */
export function parseAddressPort(text: string): AddressPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const address = match[1] ?? match[2] ?? ''
  const port = Number(match[3])
  const family = match[1] === undefined ? 4 : 6
  return isIP(address) === family && port <= 65_535 ? { address, port } : undefined
}

export function formatAddressPort({ address, port }: AddressPort): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** `host:port`, `192.0.2.1:443`, `[2001:db8::1]:443` or `unix:/path`. */
export function parsePassTarget(text: string): PassTarget | undefined {
  if (text.startsWith('unix:/')) return { path: text.slice('unix:'.length) }
  const literal = parseAddressPort(text)
  if (literal !== undefined)
    return literal.port === 0 ? undefined : { host: literal.address, port: literal.port }
  const match = /^([^:[\]]+):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const host = match[1] ?? ''
  const port = Number(match[2])
  return isHostname(host) && port >= 1 && port <= 65_535 ? { host, port } : undefined
}

/** A DNS name of letters, digits, hyphens and underscores; with `wildcard`, `*.` may lead. */
export function isHostname(text: string, wildcard = false): boolean {
  const name = wildcard && text.startsWith('*.') ? text.slice(2) : text
  return name.length <= 253 && /^(?!.*\.\.)[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9_])?$/.test(name)
}

/** An address or a prefix of addresses: `192.0.2.0/24`, `2001:db8::/32`. */
export function isCidr(text: string): boolean {
  return parseIpPrefix(text) !== undefined
}

/** Whole bytes in hexadecimal, at least one. */
export function isHex(text: string): boolean {
  return /^(?:[0-9a-fA-F]{2})+$/.test(text)
}

/** Reference 1.8: `hex` or `hex/hexmask`. */
export function isRandomPrefix(text: string): boolean {
  const [prefix = '', mask, ...rest] = text.split('/')
  return rest.length === 0 && isHex(prefix) && (mask === undefined || isHex(mask))
}

function isHttpUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') return false
  // Nothing else is sent to the origin: to take it and leave it out would be a surprise.
  return url.pathname === '/' && `${url.search}${url.hash}${url.username}${url.password}` === ''
}

/** Builds a field over text that `parse` understands. */
export function parsed<T, const O extends TextValueOptions>(
  type: string,
  allowed: string,
  parse: (text: string) => T | undefined,
  options: O,
) {
  return value(type, allowed, (raw) => (typeof raw === 'string' ? parse(raw) : undefined), options)
}

/** Builds a field over text that passes `test`. */
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
  return tested('host name', allowed, (text) => isHostname(text, wildcard), options)
}

export function cidr<const O extends TextValueOptions>(options: O) {
  return tested('CIDR', 'an address or CIDR, "192.0.2.0/24" or "2001:db8::/32"', isCidr, options)
}

export function hex<const O extends TextValueOptions>(options: O) {
  return tested('hex', 'whole bytes in hexadecimal', isHex, options)
}

export function randomPrefix<const O extends TextValueOptions>(options: O) {
  return tested('hex[/hexmask]', 'hexadecimal "aabb" or with a mask "aabb/ff0f"', isRandomPrefix, options)
}

export function filePath<const O extends TextValueOptions>(options: O) {
  return tested('path', 'a path', (text) => text !== '' && !text.includes('\0'), options)
}

/** A request path: what a URL says after the host. Shape only; `cross-checks.ts` gives the reference's words. */
export function urlPath<const O extends TextValueOptions>(options: O) {
  return tested('request path', 'a path that starts with "/"', () => true, options)
}

export function httpUrl<const O extends TextValueOptions>(options: O) {
  return tested('URL', 'http or https with a host, and a port if wanted', isHttpUrl, options)
}
