/**
 * The paths of the main hosts that belong to the origin behind the reverse proxy. The mask is a plain text prefix, as
 * in the reference endpoint (`/app` covers `/apple`). The origin gets the target as the client wrote it, and servers do
 * not agree on what a target means: some decode it twice, some look for `..` before they decode and some after, some
 * drop parameters of segments (RFC 3986 section 3.3), merge slashes, take backslashes for slashes, or stop at `#`. So
 * nothing is resolved here. A path that any of them could take to another place is not under the mask; what is left has
 * the prefix for all of them.
 */

/** Each decoding is judged. Nobody who is honest encodes more often than this. */
const MAX_DECODINGS = 8
/** Windows ignores spaces and further dots at the end of a name. */
const DOT_SEGMENT = /\/(?= *\.)[. ]+(?:[;/?]|$)/
/** Also `%u002e`, which only some servers decode, and what they take for a short character in a long form of UTF-8. */
const NEVER =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f\\#]|%u[0-9a-f]{4}|[\u00c0\u00c1][\u0080-\u00bf]|\u00e0[\u0080-\u009f][\u0080-\u00bf]|\u00f0[\u0080-\u008f][\u0080-\u00bf]/i

export class PathMask {
  readonly #prefix: string

  constructor(mask: string) {
    this.#prefix = decodeOnce(Buffer.from(mask, 'utf8').toString('latin1'))
  }

  /** `target` is in origin-form. */
  covers(target: string): boolean {
    if (!target.startsWith('/') || /[^\u0021-\u00ff]|#/.test(target)) return false
    const raw = target.replace(/\?.*$/s, '')
    if (/%(?![0-9a-f]{2})/i.test(raw)) return false
    return decodeOnce(raw).startsWith(this.#prefix) && hasOneMeaning(raw)
  }
}

/** The first form is the raw one, the last has nothing more to decode. */
function hasOneMeaning(raw: string): boolean {
  let form = raw
  for (let decodings = 0; decodings <= MAX_DECODINGS; decodings++) {
    if (NEVER.test(form) || DOT_SEGMENT.test(form)) return false
    const next = decodeOnce(form)
    if (next === form) return true
    form = next
  }
  return false
}

function decodeOnce(path: string): string {
  return path.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
}
