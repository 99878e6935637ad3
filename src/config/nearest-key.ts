/** What can be said of a key that is not known: the known one that it most likely stands for, or why it has gone. */

/** Keys that there were, with the reason why there are none in their place, or which. */
export const RETIRED_KEYS: Readonly<Record<string, string>> = {
  'culvert.http3.io_uring': 'HTTP/3 always polls; with io_uring most packets left in the wrong order',
  'culvert.http3.upload_memory_per_stream': 'upload_memory now bounds all uploads together',
}

/** By the smallest share of letters to insert, delete or replace; undefined when nothing is known. */
export function nearest(key: string, known: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Infinity
  for (const candidate of known) {
    const distance = editDistance(key, candidate) / Math.max(key.length, candidate.length)
    if (distance >= bestDistance) continue
    best = candidate
    bestDistance = distance
  }
  return best
}

/** Levenshtein distance, by rows of the usual table. */
export function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let at = 1; at <= left.length; at++) {
    const next = [at]
    for (let to = 1; to <= right.length; to++) {
      const replaced = (row[to - 1] ?? 0) + (left[at - 1] === right[to - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[to] ?? 0) + 1, (next[to - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[right.length] ?? 0
}
