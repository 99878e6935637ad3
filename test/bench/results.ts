/** What the endpoints did in each row, and how they compare. */
import type { Figure, Row } from './plan.ts'
import { median } from './quantile.ts'
import type { BusyCores } from './steady-work.ts'

/** One endpoint in one row: a list of values per round, or why there are none. */
export interface Outcome {
  readonly name: string
  readonly runs: (readonly number[])[]
  /** Largest resident set of the endpoint in each round; NaN where the row has no endpoint. */
  readonly peakRssMib: number[]
  /** In each round, where the work is steady. */
  readonly busy: BusyCores[]
  failure?: string
  remark?: string
}

export interface RowResult {
  readonly row: Row
  readonly own: Outcome
  readonly peers: readonly Outcome[]
  /** Why nobody was measured. */
  readonly skipped?: string
}

/** Median of a figure over the rounds; NaN after a failure. */
export function valueOf(outcome: Outcome, figure: number): number {
  if (outcome.failure !== undefined) return NaN
  return median(outcome.runs.map((run) => run[figure] ?? NaN))
}

/**
 * How many times better ours is in a figure: the median of the ratios of each round, in which both had the same machine.
 * Above 1 is better, whichever way the figure points; NaN after a failure.
 */
export function timesBetter(row: Row, figure: number, own: Outcome, peer: Outcome): number {
  if (own.failure !== undefined || peer.failure !== undefined) return NaN
  const { better } = row.figures[figure] ?? row.figures[0]
  return median(roundRatios(own, peer, figure).map((ratio) => (better === 'higher' ? ratio : 1 / ratio)))
}

/** The first one's value divided by the second one's, in each round that both have done. */
export function roundRatios(dividend: Outcome, divisor: Outcome, figure: number): readonly number[] {
  const rounds = Math.min(dividend.runs.length, divisor.runs.length)
  return Array.from(
    { length: rounds },
    (_, round) => (dividend.runs[round]?.[figure] ?? NaN) / (divisor.runs[round]?.[figure] ?? NaN),
  )
}

export function formatValue(figure: Figure | undefined, value: number): string {
  if (figure === undefined) return ''
  return Number.isNaN(value) ? NOTHING : `${value.toFixed(figure.digits)} ${figure.unit}`
}

/** In place of a value that there is not. */
export const NOTHING = '–'
