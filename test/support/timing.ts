/**
 * Can two things be told apart by the time they take? Measures that in a way that load does not distort, as long as the
 * tries come in random order.
 */

/** The names, `count` times each, in random order. */
export function inRandomOrder<T>(names: readonly T[], count: number): T[] {
  const tries = names.flatMap((name) => Array.from({ length: count }, () => ({ name, key: Math.random() })))
  return tries.toSorted((a, b) => a.key - b.key).map(({ name }) => name)
}

/**
 * The area under the ROC curve: how often a value of `ones` is above one of `others`, ties counted as half. At 0.5,
 * guessing by time is no better than tossing a coin. With n values of each, chance alone has a standard deviation of
 * about 0.41 / sqrt(n).
 */
export function areaUnderCurve(ones: readonly number[], others: readonly number[]): number {
  let wins = 0
  for (const one of ones) for (const other of others) wins += one > other ? 1 : one === other ? 0.5 : 0
  return wins / (ones.length * others.length)
}
