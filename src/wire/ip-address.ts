/**
 * IP addresses as text, as bytes, and in the 16-byte form of the tunnel (specification 6.3, 11.2).
 * Text is read strictly: four decimal numbers without leading zeros, or RFC 4291 section 2.2 without a zone.
 * It is written as RFC 5952 says, IPv4-mapped addresses with their dotted tail.
 *
 *   IPv4 padded   00 00 00 00 00 00 00 00 00 00 00 00 aa bb cc dd
 *   IPv6          16 bytes
 *
 * Twelve zero bytes mean IPv4, except `::1`; so `::` reads as 0.0.0.0, and 0.0.0.1 has no padded form.
 */
import { EndpointError } from '../errors.ts'

/** Size of an address inside the tunnel. */
export const PADDED_ADDRESS_BYTES = 16

/** `address` is canonical text, without brackets or zone. */
export interface IpAddress {
  readonly address: string
  readonly family: 4 | 6
}

const DOT = 0x2e
const COLON = 0x3a
const ZERO = 0x30
/** The longest text: eight groups, the last two as dotted decimal. */
const MAX_TEXT_LENGTH = 45

/** The canonical form of `text`, or undefined when it is no address. */
export function parseIpAddress(text: string): IpAddress | undefined {
  const bytes = ipBytes(text)
  if (bytes === undefined) return undefined
  return bytes.length === 4
    ? { address: formatIpv4(bytes), family: 4 }
    : { address: formatIpv6(bytes), family: 6 }
}

/** 4 or 16 bytes of the address, or undefined when `text` is no address. */
export function ipBytes(text: string): Uint8Array | undefined {
  if (text.length > MAX_TEXT_LENGTH) return undefined
  const bytes = new Uint8Array(text.includes(':') ? 16 : 4)
  const valid = bytes.length === 4 ? readIpv4(text, 0, text.length, bytes, 0) : readIpv6(text, bytes)
  return valid ? bytes : undefined
}

/** Reads exactly `text[start, end)` as dotted decimal into `bytes` at `at`. */
function readIpv4(text: string, start: number, end: number, bytes: Uint8Array, at: number): boolean {
  let octets = 0
  let value = 0
  let digits = 0
  for (let index = start; index <= end; index += 1) {
    const code = index === end ? DOT : text.charCodeAt(index)
    if (code === DOT) {
      if (digits === 0 || octets === 4) return false
      bytes[at + octets] = value
      octets += 1
      value = 0
      digits = 0
    } else {
      const digit = code - ZERO
      if (digit < 0 || digit > 9) return false
      // A leading zero would be octal to inet_aton: refuse it rather than read it another way.
      if (digits > 0 && value === 0) return false
      value = value * 10 + digit
      digits += 1
      if (value > 255) return false
    }
  }
  return octets === 4
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const lower = code | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}

function readIpv6(text: string, bytes: Uint8Array): boolean {
  const end = text.length
  let index = 0
  let written = 0
  /** Where `::` stands in `bytes`; -1 until it is seen. */
  let gap = -1
  if (text.startsWith('::')) {
    gap = 0
    index = 2
  }
  while (index < end) {
    if (written === 16) return false
    const groupStart = index
    let value = 0
    let digit: number
    while (index < end && (digit = hexDigit(text.charCodeAt(index))) >= 0) {
      value = (value << 4) | digit
      index += 1
      if (index - groupStart > 4) return false
    }
    if (index < end && text.charCodeAt(index) === DOT) {
      if (written > 12 || !readIpv4(text, groupStart, end, bytes, written)) return false
      written += 4
      break
    }
    if (index === groupStart) return false
    bytes[written] = value >> 8
    bytes[written + 1] = value & 0xff
    written += 2
    if (index === end) break
    if (text.charCodeAt(index) !== COLON) return false
    index += 1
    if (index === end) return false
    if (text.charCodeAt(index) === COLON) {
      if (gap >= 0) return false
      gap = written
      index += 1
    }
  }
  if (gap < 0) return written === 16
  // `::` stands for at least one group of zeros.
  if (written > 14) return false
  bytes.copyWithin(16 - (written - gap), gap, written)
  bytes.fill(0, gap, 16 - (written - gap))
  return true
}

/** Text of the 4 bytes at `offset`. */
export function formatIpv4(bytes: Uint8Array, offset = 0): string {
  return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`
}

/** Text of the 16 bytes at `offset`, as RFC 5952 writes it. */
export function formatIpv6(bytes: Uint8Array, offset = 0): string {
  if (isMapped(bytes, offset)) return `::ffff:${formatIpv4(bytes, offset + 12)}`
  let gapStart = -1
  let gapLength = 1
  for (let group = 0; group < 8; group += 1) {
    let length = 0
    while (group + length < 8 && groupAt(bytes, offset, group + length) === 0) length += 1
    if (length > gapLength) {
      gapStart = group
      gapLength = length
    }
    group += length
  }
  let text = ''
  for (let group = 0; group < 8; group += 1) {
    if (group === gapStart) {
      text += '::'
      group += gapLength - 1
    } else {
      if (group > 0 && !text.endsWith(':')) text += ':'
      text += groupAt(bytes, offset, group).toString(16)
    }
  }
  return text
}

function groupAt(bytes: Uint8Array, offset: number, group: number): number {
  const at = offset + group * 2
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

function zeros(bytes: Uint8Array, start: number, end: number): boolean {
  for (let index = start; index < end; index += 1) if (bytes[index] !== 0) return false
  return true
}

function isMapped(bytes: Uint8Array, offset: number): boolean {
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff && zeros(bytes, offset, offset + 10)
}

/** Whether the 16 padded bytes at `offset` stand for an IPv4 address. */
export function isPaddedIpv4(bytes: Uint8Array, offset = 0): boolean {
  if (!zeros(bytes, offset, offset + 12)) return false
  return bytes[offset + 15] !== 1 || !zeros(bytes, offset + 12, offset + 15)
}

/** Reads the 16 padded bytes at `offset`; the caller has checked that they are there. */
export function decodePaddedAddress(bytes: Uint8Array, offset = 0): IpAddress {
  return isPaddedIpv4(bytes, offset)
    ? { address: formatIpv4(bytes, offset + 12), family: 4 }
    : { address: formatIpv6(bytes, offset), family: 6 }
}

/**
 * Writes `address` as 16 padded bytes at `offset`.
 * @throws EndpointError `malformed` when `address` is no address.
 */
export function encodePaddedAddress(address: string, target: Uint8Array, offset = 0): void {
  const bytes = ipBytes(address)
  if (bytes === undefined) throw new EndpointError('malformed', 'not an IP address')
  target.fill(0, offset, offset + 12)
  target.set(bytes, offset + PADDED_ADDRESS_BYTES - bytes.length)
}

/**
 * The IPv4 address that an IPv6 address carries and that would be reached through it: IPv4-mapped
 * `::ffff:0:0/96` and IPv4-compatible `::/96` (RFC 4291 section 2.5.5), NAT64 `64:ff9b::/96` (RFC 6052), 6to4
 * `2002::/16` (RFC 3056). Undefined for every other address; `::` and `::1` are themselves. A policy must
 * judge the result as well as the address.
 */
export function embeddedIpv4(address: string): string | undefined {
  const bytes = ipBytes(address)
  if (bytes?.length !== 16) return undefined
  if (isMapped(bytes, 0)) return formatIpv4(bytes, 12)
  if (zeros(bytes, 0, 12)) {
    const itself = zeros(bytes, 12, 15) && (bytes[15] ?? 0) <= 1
    return itself ? undefined : formatIpv4(bytes, 12)
  }
  if (groupAt(bytes, 0, 0) === 0x2002) return formatIpv4(bytes, 2)
  const nat64 = groupAt(bytes, 0, 0) === 0x64 && groupAt(bytes, 0, 1) === 0xff9b && zeros(bytes, 4, 12)
  return nat64 ? formatIpv4(bytes, 12) : undefined
}

/** A peer's address as everything behind the gate names it: IPv4-mapped as IPv4, without a zone, canonical. */
export function normalizePeerAddress(text: string): IpAddress | undefined {
  const zone = text.indexOf('%')
  const parsed = parseIpAddress(zone < 0 ? text : text.slice(0, zone))
  if (parsed?.family !== 6 || !parsed.address.startsWith('::ffff:')) return parsed
  const tail = parsed.address.slice('::ffff:'.length)
  return tail.includes('.') ? { address: tail, family: 4 } : parsed
}
