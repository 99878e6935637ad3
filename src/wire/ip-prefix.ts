/** Address ranges in CIDR notation (RFC 4632, RFC 4291 section 2.3) and who is inside them. */
import { ipBytes } from './ip-address.ts'

const BITS = /^(?:0|[1-9][0-9]{0,2})$/
/** `::ffff:0:0/96`, in which IPv4 stands inside IPv6. */
const MAPPED_BITS = 96

export class IpPrefix {
  readonly #bytes: Uint8Array
  readonly #bits: number

  /** 4 or 16 bytes, of which the first `bits` bits count. */
  constructor(bytes: Uint8Array, bits: number) {
    this.#bytes = bytes
    this.#bits = bits
  }

  get family(): 4 | 6 {
    return this.#bytes.length === 4 ? 4 : 6
  }

  /** `address` is 4 or 16 bytes ({@link ipBytes}); one of the other family is outside. */
  contains(address: Uint8Array): boolean {
    if (address.length !== this.#bytes.length) return false
    const whole = this.#bits >> 3
    for (let index = 0; index < whole; index += 1) if (address[index] !== this.#bytes[index]) return false
    const rest = this.#bits & 7
    return rest === 0 || ((address[whole] ?? 0) ^ (this.#bytes[whole] ?? 0)) >> (8 - rest) === 0
  }
}

/**
 * `address/bits`, or a bare address, which is a range of one. Bits behind the prefix are ignored. A range inside
 * `::ffff:0:0/96` is the IPv4 range that it stands for. Undefined when `text` is neither.
 */
export function parseIpPrefix(text: string): IpPrefix | undefined {
  const slash = text.indexOf('/')
  const bytes = ipBytes(slash < 0 ? text : text.slice(0, slash))
  if (bytes === undefined) return undefined
  const width = bytes.length * 8
  const bitsText = slash < 0 ? String(width) : text.slice(slash + 1)
  const bits = BITS.test(bitsText) ? Number(bitsText) : Infinity
  if (bits > width) return undefined
  const mapped = width === 128 && bits >= MAPPED_BITS && isMapped(bytes)
  return mapped ? new IpPrefix(bytes.subarray(12), bits - MAPPED_BITS) : new IpPrefix(bytes, bits)
}

function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 12).every((byte, index) => byte === (index < 10 ? 0 : 0xff))
}
