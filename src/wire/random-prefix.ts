/** What a TLS client random must begin with: bytes, of which a mask says which bits count. */

/** Whole bytes in hexadecimal, at least one. */
const HEX = /^(?:[0-9a-f]{2})+$/i
/** A random is as long (RFC 8446 section 4.1.2). */
export const RANDOM_BYTES = 32

/** Plain, so that it can be sent to another thread. Both have the same length. */
export interface RandomPrefix {
  readonly bytes: Uint8Array
  readonly mask: Uint8Array
}

/** Undefined when `text` is not whole bytes in hexadecimal. */
export function parseHex(text: string): Uint8Array | undefined {
  return HEX.test(text) ? Uint8Array.from(Buffer.from(text, 'hex')) : undefined
}

/**
 * `hex` or `hex/hexmask`. Without a mask all of the prefix counts; with one, as many bytes as both have, and no more
 * than a random has.
 */
export function parseRandomPrefix(text: string): RandomPrefix | undefined {
  const [bytesText = '', maskText, ...rest] = text.split('/')
  const bytes = parseHex(bytesText)
  if (bytes === undefined || rest.length > 0) return undefined
  if (maskText === undefined) return { bytes, mask: new Uint8Array(bytes.length).fill(0xff) }
  const mask = parseHex(maskText)
  if (mask === undefined) return undefined
  const compared = Math.min(bytes.length, mask.length, RANDOM_BYTES)
  return { bytes: bytes.slice(0, compared), mask: mask.slice(0, compared) }
}

/** A prefix that is longer than `random` matches nothing. */
export function matchesRandom({ bytes, mask }: RandomPrefix, random: Uint8Array): boolean {
  if (bytes.length > random.length) return false
  return bytes.every((byte, index) => ((byte ^ (random[index] ?? 0)) & (mask[index] ?? 0)) === 0)
}
