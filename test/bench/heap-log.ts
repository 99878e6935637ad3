/** Reads what `heap-report.mjs` has written. */

interface Line {
  readonly thread: string
  readonly atMs: number
  readonly bytes: number
}

/**
 * Bytes per second that all threads together allocated between two times in milliseconds since 1970, from the first to
 * the last line of each thread within them; NaN when there are no two lines of one thread.
 */
export function allocationRate(log: string, fromMs: number, toMs: number): number {
  const byThread = new Map<string, Line[]>()
  for (const line of parseLines(log)) {
    if (line.atMs < fromMs || line.atMs > toMs) continue
    const lines = byThread.get(line.thread)
    if (lines === undefined) byThread.set(line.thread, [line])
    else lines.push(line)
  }
  const rates = [...byThread.values()].flatMap((lines) => {
    const [first, last] = [lines[0], lines.at(-1)]
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return []
    return [((last.bytes - first.bytes) / (last.atMs - first.atMs)) * 1000]
  })
  return rates.length === 0 ? NaN : rates.reduce((sum, rate) => sum + rate, 0)
}

/** The last line may be incomplete: the file is read while it grows. */
function* parseLines(log: string): Generator<Line> {
  for (const [, thread = '', atMs, bytes] of log.matchAll(/^(\d+) (\d+) (\d+)\n/gm)) {
    yield { thread, atMs: Number(atMs), bytes: Number(bytes) }
  }
}
