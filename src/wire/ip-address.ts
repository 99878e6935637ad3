/**
 * IP addresses as text and as bytes. Text is read strictly: four decimal numbers without leading zeros, or RFC 4291
 * section 2.2 without a zone. It is written as RFC 5952 says, IPv4-mapped addresses with a dotted tail. What kind of
 * address it is belongs in `ip-kind.ts`, ranges in `ip-prefix.ts`.
 */
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

/** The canonical form of `text`, or undefined when it is not an address. */
export function parseIpAddress(text: string): IpAddress | undefined {
  // Decimal without leading zeros is canonical.
  if (!text.includes(':')) return isIpv4(text) ? { address: text, family: 4 } : undefined
  const bytes = ipBytes(text)
  return bytes === undefined ? undefined : { address: formatIp(bytes), family: 6 }
}

const scratch = new Uint8Array(4)

function isIpv4(text: string): boolean {
  return text.length <= MAX_TEXT_LENGTH && readIpv4(text, 0, text.length, scratch, 0)
}

/** The canonical form of 4 or 16 bytes. */
export function formatIp(bytes: Uint8Array): string {
  return bytes.length === 4 ? formatIpv4(bytes) : formatIpv6(bytes)
}

/** The address as 4 or 16 bytes, or undefined when `text` is not an address. */
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
      // inet_aton would read a leading zero as octal: better to refuse it than to read it differently.
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

/** The 16 bits of the group at index `group` of the IPv6 address at `offset`. */
export function groupAt(bytes: Uint8Array, offset: number, group: number): number {
  const at = offset + group * 2
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

export function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let index = start; index < end; index += 1) if (bytes[index] !== 0) return false
  return true
}

/** Whether the 16 bytes at `offset` are an IPv4-mapped address (`::ffff:0:0/96`). */
export function isMapped(bytes: Uint8Array, offset = 0): boolean {
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff && isZero(bytes, offset, offset + 10)
}
