/**
 * What kind of address it is: loopback, unspecified, IPv4 carried inside IPv6, whose it is. Functions that a policy
 * uses take bytes ({@link ipBytes}); those that identify a peer take text.
 */
import { formatIp, groupAt, ipBytes, isMapped, isZero } from './ip-address.ts'
import type { IpAddress } from './ip-address.ts'

/** How many bytes of an IPv6 address identify a customer: a /64. */
const CUSTOMER_BYTES = 8

/** The IPv4 address inside an IPv4-mapped one; any other address is returned as it is. */
export function unmapped(bytes: Uint8Array): Uint8Array {
  return bytes.length === 16 && isMapped(bytes) ? bytes.subarray(12) : bytes
}

/** `127.0.0.0/8` and `::1`, also IPv4-mapped. False for text that is not an address. */
export function isLoopback(address: string): boolean {
  const bytes = unmapped(ipBytes(address) ?? new Uint8Array())
  if (bytes.length === 4) return bytes[0] === 127
  return bytes.length === 16 && bytes[15] === 1 && isZero(bytes, 0, 15)
}

/** `0.0.0.0` and `::`, also IPv4-mapped. False for text that is not an address. */
export function isUnspecified(address: string): boolean {
  const bytes = unmapped(ipBytes(address) ?? Uint8Array.of(1))
  return isZero(bytes, 0, bytes.length)
}

/**
 * The IPv4 address that an IPv6 address carries and that would be reached through it: IPv4-mapped `::ffff:0:0/96` and
 * IPv4-compatible `::/96` (RFC 4291 section 2.5.5), NAT64 `64:ff9b::/96` (RFC 6052), 6to4 `2002::/16` (RFC 3056).
 * Undefined for every other address, `::` and `::1` included. A policy must judge the result as well as the address.
 */
export function embeddedIpv4(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length !== 16) return undefined
  if (isMapped(bytes)) return bytes.subarray(12)
  if (isZero(bytes, 0, 12)) {
    const itself = isZero(bytes, 12, 15) && (bytes[15] ?? 0) <= 1
    return itself ? undefined : bytes.subarray(12)
  }
  if (groupAt(bytes, 0, 0) === 0x2002) return bytes.subarray(2, 6)
  const nat64 = groupAt(bytes, 0, 0) === 0x64 && groupAt(bytes, 0, 1) === 0xff9b && isZero(bytes, 4, 12)
  return nat64 ? bytes.subarray(12) : undefined
}

/** The IPv4 address of a Teredo client, to which its packets are sent (RFC 4380 section 4). */
export function teredoClient(bytes: Uint8Array): Uint8Array | undefined {
  const teredo = bytes.length === 16 && groupAt(bytes, 0, 0) === 0x2001 && groupAt(bytes, 0, 1) === 0
  return teredo ? bytes.subarray(12).map((byte) => byte ^ 0xff) : undefined
}

/** A peer's address in the form used everywhere behind the gate: canonical, without a zone, IPv4-mapped as IPv4. */
export function normalizePeerAddress(text: string): IpAddress | undefined {
  const zone = text.indexOf('%')
  const parsed = ipBytes(zone < 0 ? text : text.slice(0, zone))
  if (parsed === undefined) return undefined
  const bytes = unmapped(parsed)
  return { address: formatIp(bytes), family: bytes.length === 4 ? 4 : 6 }
}

/**
 * What is the same for all addresses of one customer: the 4 bytes of an IPv4 address, or the 8 bytes of the /64 of an
 * IPv6 address. Empty for text that is not an address.
 */
export function customerBytes(address: string): Uint8Array {
  const bytes = unmapped(ipBytes(address) ?? new Uint8Array())
  return bytes.length === 16 ? bytes.subarray(0, CUSTOMER_BYTES) : bytes
}

/** The same text for all addresses of one customer. */
export function customerOf(address: string): string {
  const bytes = customerBytes(address)
  if (bytes.length === CUSTOMER_BYTES) return Buffer.from(bytes).toString('hex')
  return bytes.length === 4 ? formatIp(bytes) : address
}
