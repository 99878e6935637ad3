/** Results as one Markdown table and as JSON. */
import type { Machine } from './machine.ts'
import type { Figure, Row } from './plan.ts'
import { median } from './quantile.ts'

/** What one endpoint did in one row: a list of values per run, or why there are none. */
export interface Outcome {
  readonly runs: (readonly number[])[]
  /** Largest resident set of the endpoint in each run; NaN where the row has no endpoint. */
  readonly peakRssMib: number[]
  failure?: string
}

export interface RowResult {
  readonly row: Row
  readonly own: Outcome
  readonly peer: Outcome | undefined
}

export interface Report {
  readonly machine: Machine
  readonly options: Readonly<Record<string, unknown>>
  readonly results: readonly RowResult[]
}

const NOTHING = '–'

function valueOf(outcome: Outcome | undefined, index: number): number {
  if (outcome === undefined || outcome.failure !== undefined) return NaN
  return median(outcome.runs.map((run) => run[index] ?? NaN))
}

/** How many times better ours is; above 1 is better, whichever way the figure points. */
function advantage(figure: Figure, own: number, peer: number): number {
  return figure.better === 'higher' ? own / peer : peer / own
}

export function formatTable({ machine, options, results }: Report): string {
  const withPeer = results.some(({ peer }) => peer !== undefined)
  const heads = withPeer
    ? ['work', 'culvert', '', 'peer', '', 'times better', '']
    : ['work', 'result', 'cost or p99']
  const lines = results.map((result) => formatRow(result, withPeer))
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...lines.map((line) => line[column]?.length ?? 0)),
  )
  const print = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`
  const rule = `|${widths.map((width, column) => (column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [describe(machine, options), '', print(heads), rule, ...lines.map(print), ...notes(results)].join(
    '\n',
  )
}

function describe(machine: Machine, options: Report['options']): string {
  const { cpu, cores, memoryGib, kernel, node, date, pinning, loadAverage } = machine
  const pinned = pinning
    ? `endpoint on core ${pinning.endpoint}, load on core ${pinning.load}`
    : 'processes are not tied to cores'
  return [
    `${cpu}, ${cores} cores, ${memoryGib} GiB; Linux ${kernel}; Node ${node}; ${date.slice(0, 10)}`,
    `${pinned}; load average at the start ${loadAverage.toFixed(2)}; medians of ${String(options['runs'])} runs`,
  ].join('\n')
}

function formatRow({ row, own, peer }: RowResult, withPeer: boolean): string[] {
  const columns = [0, 1]
  const cells = (outcome: Outcome | undefined): string[] =>
    columns.map((index) => formatValue(row.figures[index], valueOf(outcome, index)))
  if (!withPeer) return [row.title, ...cells(own)]
  const ratios = columns.map((index) => {
    const figure = row.figures[index]
    const ratio = figure ? advantage(figure, valueOf(own, index), valueOf(peer, index)) : NaN
    return Number.isNaN(ratio) ? NOTHING : ratio.toFixed(2)
  })
  return [row.title, ...cells(own), ...cells(peer), ...ratios]
}

function formatValue(figure: Figure | undefined, value: number): string {
  if (figure === undefined) return ''
  if (Number.isNaN(value)) return NOTHING
  return `${value.toFixed(figure.digits)} ${figure.unit}`
}

/** Why rows have no values. */
function notes(results: readonly RowResult[]): string[] {
  const lines = results.flatMap(({ row, own, peer }) => [
    ...(own.failure === undefined ? [] : [`${row.name}: culvert: ${own.failure}`]),
    ...(peer?.failure === undefined ? [] : [`${row.name}: peer cannot do this: ${peer.failure}`]),
  ])
  return lines.length === 0 ? [] : ['', ...lines]
}

/** The same with every run, for programs. */
export function toJson({ machine, options, results }: Report): string {
  const rows = results.map(({ row, own, peer }) => ({
    name: row.name,
    title: row.title,
    peakRssMib: { own: own.peakRssMib, peer: peer?.peakRssMib },
    figures: row.figures.map((figure, index) => {
      const describeOutcome = (outcome: Outcome | undefined) =>
        outcome && {
          median: valueOf(outcome, index),
          runs: outcome.runs.map((run) => run[index]),
          failure: outcome.failure,
        }
      return {
        label: figure.label,
        unit: figure.unit,
        better: figure.better,
        own: describeOutcome(own),
        peer: describeOutcome(peer),
        timesBetter: peer && advantage(figure, valueOf(own, index), valueOf(peer, index)),
      }
    }),
  }))
  return `${JSON.stringify({ machine, options, rows }, null, 2)}\n`
}
