/** What HTTP/2 and HTTP/1.1 of our own, and a lane for every core, were to bring; and whether they have. */
import { BEFORE } from './arguments.ts'
import { formatMarkdownTable } from './markdown-table.ts'
import { median } from './quantile.ts'
import { NOTHING, roundRatios, timesBetter, valueOf, type RowResult } from './results.ts'

type Results = ReadonlyMap<string, RowResult>

export interface Goal {
  readonly title: string
  readonly rows: readonly string[]
  readonly bound: { readonly atLeast: number } | { readonly atMost: number }
  readonly unit: string
  readonly digits: number
  /** NaN when the rows have no value. */
  measure(results: Results): number
}

/** Times better than the version before, in the figure by which the row compares. */
function factor(title: string, row: string, atLeast: number): Goal {
  return {
    title,
    rows: [row],
    bound: { atLeast },
    unit: 'times better',
    digits: 2,
    measure: (results) => {
      const result = results.get(row)
      const before = result?.peers.find(({ name }) => name === BEFORE)
      if (result === undefined || before === undefined) return NaN
      return timesBetter(result.row, result.row.compared, result.own, before)
    },
  }
}

/** Our own value of a figure. */
function value(
  title: string,
  row: string,
  figure: number,
  bound: Goal['bound'],
  { unit, digits }: Pick<Goal, 'unit' | 'digits'>,
): Goal {
  return {
    title,
    rows: [row],
    bound,
    unit,
    digits,
    measure: (results) => {
      const own = results.get(row)?.own
      return own === undefined ? NaN : valueOf(own, figure)
    },
  }
}

/** Percent of CPU per GiB that two lanes take more than one, from the ratios of each round. */
const LANES_COST: Goal = {
  title: 'two lanes against one: more CPU per GiB',
  rows: ['lanes-1', 'lanes-2'],
  bound: { atMost: 5 },
  unit: '%',
  digits: 1,
  measure: (results) => {
    const [one, two] = [results.get('lanes-1'), results.get('lanes-2')]
    if (one === undefined || two === undefined) return NaN
    if (one.own.failure !== undefined || two.own.failure !== undefined) return NaN
    return (median(roundRatios(two.own, one.own, two.row.compared)) - 1) * 100
  },
}

const STREAMS = [1, 8, 64] as const
const UPLOAD_FACTORS: Record<(typeof STREAMS)[number], number> = { 1: 1.35, 8: 1.25, 64: 1.35 }

const GOALS: readonly Goal[] = [
  factor('CONNECT, ping, close', 'h2-connect', 1.7),
  factor('idle tunnel', 'h2-idle', 4),
  ...STREAMS.map((n) => factor(`HTTP/2 download, ${n}`, `h2-down-${n}`, 1.1)),
  ...STREAMS.map((n) => factor(`HTTP/2 upload, ${n}`, `h2-up-${n}`, UPLOAD_FACTORS[n])),
  factor('HTTP/1.1 download, 1', 'h1-down-1', 1.2),
  factor('HTTP/1.1 upload, 8', 'h1-up-8', 1.3),
  factor('round trip during a download, p50', 'rtt-load', 4),
  LANES_COST,
  // The busier lane of two then has at most 60 %.
  value('two lanes: bytes of the lesser one', 'lanes-2', 2, { atLeast: 40 }, { unit: '%', digits: 1 }),
  factor('memory at rest, one lane', 'rest', 1.4),
  factor('HTTP/1.1 CONNECT with handshake', 'h1-connect', 1.3),
  value('garbage of a CONNECT', 'h2-garbage', 0, { atMost: 5 }, { unit: 'KiB', digits: 1 }),
  value('UDP echo, 64 bytes', 'udp-64', 1, { atMost: 9 }, { unit: 'µs', digits: 1 }),
  value('upload at 100 ms', 'h2-up-1-100ms', 0, { atLeast: 50 }, { unit: 'MB/s', digits: 0 }),
]

export const GOAL_ROWS: readonly string[] = [...new Set(GOALS.flatMap(({ rows }) => rows))]

export function isReached({ bound }: Pick<Goal, 'bound'>, measured: number): boolean {
  return 'atLeast' in bound ? measured >= bound.atLeast : measured <= bound.atMost
}

export function formatGoals(results: readonly RowResult[]): string {
  const byName: Results = new Map(results.map((result) => [result.row.name, result]))
  const lines = GOALS.map((goal) => {
    const measured = goal.measure(byName)
    const { bound, unit, digits } = goal
    const limit = 'atLeast' in bound ? `at least ${bound.atLeast}` : `at most ${bound.atMost}`
    if (Number.isNaN(measured)) return [goal.title, limit, NOTHING, unit, 'not measured']
    const verdict = isReached(goal, measured) ? 'reached' : 'not reached'
    return [goal.title, limit, measured.toFixed(digits), unit, verdict]
  })
  return formatMarkdownTable(['target', 'bound', 'measured', 'unit', 'verdict'], lines).join('\n')
}
