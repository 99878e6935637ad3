/**
 * Variable-length integers of QUIC (RFC 9000 section 16): the two high bits of the first byte say whether
 * 1, 2, 4 or 8 bytes carry a value of 6, 14, 30 or 62 bits.
 */
import { EndpointError } from '../errors.ts'
import type { Cursor } from './cursor.ts'

export const MAX_VARINT = (1n << 62n) - 1n

/** Reads one integer, in its shortest form or not. @throws EndpointError `too_short`. */
export function readVarint(cursor: Cursor): bigint {
  const first = cursor.u8()
  let value = BigInt(first & 0x3f)
  for (let left = (1 << (first >> 6)) - 1; left > 0; left -= 1) value = (value << 8n) | BigInt(cursor.u8())
  return value
}

/** The shortest encoding. @throws EndpointError `too_long` outside 0 to 2^62 - 1. */
export function encodeVarint(input: number | bigint): Buffer {
  const value = BigInt(input)
  if (value < 0n || value > MAX_VARINT) throw new EndpointError('too_long', 'integer outside 62 bits')
  const exponent = value < 1n << 6n ? 0 : value < 1n << 14n ? 1 : value < 1n << 30n ? 2 : 3
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  const encoded = bytes.subarray(8 - (1 << exponent))
  encoded[0] = (encoded[0] ?? 0) | (exponent << 6)
  return encoded
}
