/** Address ranges in CIDR notation (RFC 4632, RFC 4291 section 2.3) and the test for being inside one. */
import { ipBytes, isMapped } from './ip-address.ts'

const BITS = /^(?:0|[1-9][0-9]{0,2})$/
/** `::ffff:0:0/96`, the range of IPv4-mapped addresses. */
const MAPPED_BITS = 96

/** Plain data, so that it can be sent to another thread. */
export interface IpPrefix {
  /** 4 or 16 bytes; bits after the prefix are zero. */
  readonly bytes: Uint8Array
  /** How many leading bits count. */
  readonly bits: number
}

/**
 * Reads `address/bits`, or a bare address, which is a range of one. Bits after the prefix are ignored. A range inside
 * `::ffff:0:0/96` becomes the IPv4 range it stands for. Undefined when `text` is neither form.
 */
export function parseIpPrefix(text: string): IpPrefix | undefined {
  const slash = text.indexOf('/')
  const bytes = ipBytes(slash < 0 ? text : text.slice(0, slash))
  if (bytes === undefined) return undefined
  const width = bytes.length * 8
  const bitsText = slash < 0 ? String(width) : text.slice(slash + 1)
  const bits = BITS.test(bitsText) ? Number(bitsText) : Infinity
  if (bits > width) return undefined
  clearBehind(bytes, bits)
  const mapped = width === 128 && bits >= MAPPED_BITS && isMapped(bytes)
  return mapped ? { bytes: bytes.slice(12), bits: bits - MAPPED_BITS } : { bytes, bits }
}

function clearBehind(bytes: Uint8Array, bits: number): void {
  const whole = bits >> 3
  if (whole === bytes.length) return
  bytes[whole] = (bytes[whole] ?? 0) & (0xff00 >> (bits & 7))
  bytes.fill(0, whole + 1)
}

/** Whether `address`, 4 or 16 bytes, is inside the range. An address of the other family never is. */
export function prefixHolds({ bytes, bits }: IpPrefix, address: Uint8Array): boolean {
  if (address.length !== bytes.length) return false
  const whole = bits >> 3
  for (let index = 0; index < whole; index += 1) if (address[index] !== bytes[index]) return false
  const rest = bits & 7
  return rest === 0 || ((address[whole] ?? 0) ^ (bytes[whole] ?? 0)) >> (8 - rest) === 0
}
