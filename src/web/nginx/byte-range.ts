/** Range requests on a file (RFC 9110 section 14), decided as nginx does, even where it is laxer or stricter. */

/** Half open: bytes `start` to `end - 1`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** `whole`: answer 200 as if no range was asked for. `unsatisfiable`: 416. */
type RangeDecision = 'whole' | 'unsatisfiable' | readonly ByteRange[]

const SPEC = /^ *(?:(\d+) *- *(\d*)|-(\d+)) *$/

/** `header` is the value of `range`, `size` the size of the file. The ranges keep their order and may overlap. */
export function parseRange(header: string, size: number): RangeDecision {
  if (header.length < 7 || header.slice(0, 6).toLowerCase() !== 'bytes=') return 'whole'
  const ranges: ByteRange[] = []
  let total = 0
  for (const spec of header.slice(6).split(',')) {
    const range = parseSpec(spec, size)
    if (range === undefined) return 'unsatisfiable'
    if (range.start < range.end) {
      ranges.push(range)
      total += range.end - range.start
    } else if (range.start === 0) return 'whole'
  }
  if (ranges.length === 0) return 'unsatisfiable'
  // Ranges that add up to more than the file are an attack on the sender's bandwidth (CVE-2011-3192).
  return total > size ? 'whole' : ranges
}

/** Undefined when it cannot be read; empty (start >= end) when it lies outside the file. */
function parseSpec(spec: string, size: number): ByteRange | undefined {
  const match = SPEC.exec(spec)
  if (!match) return undefined
  const [, first, last, suffix] = match
  const numbers = [first, last, suffix].map((digits) => (digits ? Number(digits) : 0))
  if (numbers.some((value) => value > Number.MAX_SAFE_INTEGER)) return undefined
  if (suffix !== undefined) return { start: Math.max(0, size - Number(suffix)), end: size }
  const start = Number(first)
  if (!last) return { start, end: size }
  return { start, end: Math.min(Number(last) + 1, size) }
}
