/**
 * The Huffman code of header strings (RFC 7541 section 5.2 and appendix B).
 *
 *   | code of the 1st byte, 5 to 30 bits | code of the 2nd | ... | 0 to 7 bits 1, up to the end of the byte |
 *
 * The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and each length goes
 * on where the shorter one ended. So the lengths say everything.
 */
import { HpackError } from './hpack-error.ts'

/** Bits of each byte's code, and at last of EOS, which no string may contain. */
// prettier-ignore
const CODE_BITS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
]
const EOS = 256
const MAX_CODE_BITS = 30

const BITS = Uint8Array.from(CODE_BITS)
const CODES = assignCodes()

/** RFC 7541 appendix B: the codes, by symbol. */
function assignCodes(): Uint32Array {
  const codes = new Uint32Array(CODE_BITS.length)
  let code = 0
  for (let bits = 1; bits <= MAX_CODE_BITS; bits += 1) {
    code *= 2
    for (const [symbol, length] of CODE_BITS.entries()) {
      if (length !== bits) continue
      codes[symbol] = code
      code += 1
    }
  }
  return codes
}

/**
 * Decoding goes by half bytes. A state is the path from the last complete code, so there are as many as inner nodes in
 * the tree of codes. The path 1...1 has states 0 to 29, by its length: a string may end in states 0 to 7.
 */
const MAX_PADDING_BITS = 7
/** Where EOS leads. Nothing leads out of it. */
const FAILED = EOS
/** What a half byte leads to: the next state above, then whether a byte is complete, and that byte. */
const STATE_SHIFT = 16
const COMPLETE_SHIFT = 8
const STEPS = buildSteps()

/** Both children of each inner node: another node, or `~symbol`. */
function buildTree(): Int16Array {
  const children = new Int16Array(2 * EOS)
  let nodes = 1
  const insert = (symbol: number): void => {
    const code = CODES[symbol] ?? 0
    let node = 0
    for (let left = (CODE_BITS[symbol] ?? 0) - 1; left >= 0; left -= 1) {
      const branch = 2 * node + ((code >>> left) & 1)
      if (left === 0) children[branch] = ~symbol
      else if (children[branch] === 0) children[branch] = nodes++
      node = children[branch] ?? 0
    }
  }
  // First, because that numbers the path 1...1.
  insert(EOS)
  for (let symbol = 0; symbol < EOS; symbol += 1) insert(symbol)
  return children
}

function buildSteps(): Uint32Array {
  const children = buildTree()
  const steps = new Uint32Array((FAILED + 1) << 4).fill(FAILED << STATE_SHIFT)
  for (let index = 0; index < FAILED << 4; index += 1) {
    let state = index >> 4
    let complete = 0
    for (let left = 3; left >= 0 && state !== FAILED; left -= 1) {
      const child = children[2 * state + ((index >> left) & 1)] ?? 0
      state = child >= 0 ? child : 0
      if (child < 0 && ~child === EOS) state = FAILED
      else if (child < 0) complete = (1 << COMPLETE_SHIFT) | ~child
    }
    steps[index] = (state << STATE_SHIFT) | complete
  }
  return steps
}

const SCRATCH_BYTES = 8192
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)

/**
 * The string in `bytes[start, end)`, as latin1. It has at most 8/5 of that length.
 * @throws HpackError `bad_huffman`.
 */
export function decodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  maxPaddingBits = MAX_PADDING_BITS,
): string {
  // The shortest code has 5 bits. One byte more, because each step writes, whether or not it completes a byte.
  const needed = Math.floor(((end - start) * 8) / 5) + 1
  const target = needed <= SCRATCH_BYTES ? scratch : Buffer.allocUnsafeSlow(needed)
  let length = 0
  let step = 0
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] ?? 0
    step = STEPS[((step >>> (STATE_SHIFT - 4)) & 0x1ff0) | (byte >> 4)] ?? 0
    target[length] = step
    length += (step >>> COMPLETE_SHIFT) & 1
    step = STEPS[((step >>> (STATE_SHIFT - 4)) & 0x1ff0) | (byte & 15)] ?? 0
    target[length] = step
    length += (step >>> COMPLETE_SHIFT) & 1
  }
  if (step >>> STATE_SHIFT > maxPaddingBits) throw new HpackError('bad_huffman')
  return target.toString('latin1', 0, length)
}

/** How many bytes `text` takes. NaN when it has characters above U+00FF, which are not bytes. */
export function huffmanBytes(text: string): number {
  let bits = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code >= EOS) return Number.NaN
    bits += BITS[code] ?? 0
  }
  return (bits + 7) >> 3
}

/** Writes `text`, which is latin1, and returns the offset behind it. `target` has {@link huffmanBytes} of room there. */
export function writeHuffman(text: string, target: Uint8Array, start: number): number {
  let offset = start
  /** Bits that do not make a byte yet: fewer than 8 of them between codes. */
  let held = 0
  let heldBits = 0
  for (let at = 0; at < text.length; at += 1) {
    const symbol = text.charCodeAt(at)
    let code = CODES[symbol] ?? 0
    let bits = BITS[symbol] ?? 0
    // In two parts what would not fit into 31 bits together with those held.
    if (bits > 16) {
      bits -= 16
      held = (held << bits) | (code >>> 16)
      heldBits += bits
      for (; heldBits >= 8; offset += 1) target[offset] = held >>> (heldBits -= 8)
      held &= 0xff
      code &= 0xffff
      bits = 16
    }
    held = (held << bits) | code
    heldBits += bits
    for (; heldBits >= 8; offset += 1) target[offset] = held >>> (heldBits -= 8)
    held &= 0xff
  }
  // The padding is the beginning of EOS.
  if (heldBits > 0) target[offset++] = (held << (8 - heldBits)) | (0xff >> heldBits)
  return offset
}
