/** What a TLS client random must begin with: bytes, and a mask that says which of their bits count. */

/** Whole bytes in hexadecimal, at least one. */
const HEX = /^(?:[0-9a-f]{2})+$/i
/** Length of a random in bytes (RFC 8446 section 4.1.2). */
export const RANDOM_BYTES = 32

/** Plain data, so that it can be sent to another thread. `bytes` and `mask` have the same length. */
export interface RandomPrefix {
  readonly bytes: Uint8Array
  readonly mask: Uint8Array
}

/** Returns undefined when `text` is not whole bytes in hexadecimal. */
export function parseHex(text: string): Uint8Array | undefined {
  return HEX.test(text) ? Uint8Array.from(Buffer.from(text, 'hex')) : undefined
}

/**
 * Reads `hex` or `hex/hexmask`. Without a mask the whole prefix counts. With one, as many bytes are compared as both
 * have, and no more than a random has.
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

/** A prefix longer than `random` never matches. */
export function matchesRandom({ bytes, mask }: RandomPrefix, random: Uint8Array): boolean {
  if (bytes.length > random.length) return false
  return bytes.every((byte, index) => ((byte ^ (random[index] ?? 0)) & (mask[index] ?? 0)) === 0)
}
