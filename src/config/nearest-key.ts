/** What to say about an unknown key: the known key that was probably meant, or why it no longer exists. */

/** Keys that used to exist, each with the reason why it was removed or the key that replaced it. */
export const RETIRED_KEYS: Readonly<Record<string, string>> = {
  'culvert.http3.io_uring': 'HTTP/3 always polls; with io_uring most packets left in the wrong order',
  'culvert.http3.upload_memory_per_stream': 'upload_memory now bounds all uploads together',
}

/** A key of which more has to change is another word, not a slip. */
const FARTHEST = 0.7

/** The known key with the smallest share of letters to insert, delete or replace; undefined when none is similar. */
export function nearest(key: string, known: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = FARTHEST
  for (const candidate of known) {
    const distance = editDistance(key, candidate) / Math.max(key.length, candidate.length)
    if (distance >= bestDistance) continue
    best = candidate
    bestDistance = distance
  }
  return best
}

/** Levenshtein distance, computed row by row. */
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
