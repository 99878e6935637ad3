/**
 * The 16-byte form that addresses have inside the tunnel (specification 6.3, 11.2).
 *
 *   IPv4   00 00 00 00 00 00 00 00 00 00 00 00 aa bb cc dd
 *   IPv6   16 bytes
 *
 * Twelve zero bytes mean IPv4, except `::1`; so `::` reads as 0.0.0.0, and 0.0.0.1 has no padded form.
 */
import { EndpointError } from '../errors.ts'
import { formatIpv4, formatIpv6, ipBytes, isZero } from './ip-address.ts'
import type { IpAddress } from './ip-address.ts'

/** Size of an address inside the tunnel. */
export const PADDED_ADDRESS_BYTES = 16

/** Whether the 16 padded bytes at `offset` stand for an IPv4 address. */
function isPaddedIpv4(bytes: Uint8Array, offset = 0): boolean {
  if (!isZero(bytes, offset, offset + 12)) return false
  return bytes[offset + 15] !== 1 || !isZero(bytes, offset + 12, offset + 15)
}

/** Reads the 16 padded bytes at `offset`; the caller has checked that they are there. */
export function decodePaddedAddress(bytes: Uint8Array, offset = 0): IpAddress {
  return isPaddedIpv4(bytes, offset)
    ? { address: formatIpv4(bytes, offset + 12), family: 4 }
    : { address: formatIpv6(bytes, offset), family: 6 }
}

/**
 * Writes `address` as 16 padded bytes at `offset`.
 * @throws EndpointError `malformed` when `address` is not an IP address.
 */
export function encodePaddedAddress(address: string, target: Uint8Array, offset = 0): void {
  const bytes = ipBytes(address)
  if (bytes === undefined) throw new EndpointError('malformed', 'not an IP address')
  target.fill(0, offset, offset + 12)
  target.set(bytes, offset + PADDED_ADDRESS_BYTES - bytes.length)
}
