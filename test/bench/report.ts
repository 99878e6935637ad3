/** Results as one Markdown table and as JSON. */
import type { Machine } from './machine.ts'
import { formatMarkdownTable } from './markdown-table.ts'
import { formatValue, NOTHING, timesBetter, valueOf, type Outcome, type RowResult } from './results.ts'

export interface Report {
  readonly machine: Machine
  readonly options: Readonly<Record<string, unknown>>
  readonly results: readonly RowResult[]
}

const FIGURE_HEADS = ['result', 'cost or p99', 'least share']

/** Ours, and for each peer its values and how many times better ours is in the figure by which the row compares. */
export function formatTable({ machine, options, results }: Report): string {
  const columns = Math.max(0, ...results.map(({ row }) => row.figures.length))
  const peers = results[0]?.peers.map(({ name }) => name) ?? []
  const empty = Array.from({ length: columns - 1 }, () => '')
  const heads =
    peers.length === 0
      ? ['work', ...FIGURE_HEADS.slice(0, columns)]
      : ['work', 'culvert', ...empty, ...peers.flatMap((name) => [name, ...empty, 'times better'])]
  const lines = results.map((result) => formatRow(result, columns))
  return [describe(machine, options), '', ...formatMarkdownTable(heads, lines), ...notes(results)].join('\n')
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

function formatRow({ row, own, peers }: RowResult, columns: number): string[] {
  const cells = (outcome: Outcome): string[] =>
    Array.from({ length: columns }, (_, index) => formatValue(row.figures[index], valueOf(outcome, index)))
  const compare = (peer: Outcome): string => {
    const factor = timesBetter(row, row.compared, own, peer)
    return Number.isNaN(factor) ? NOTHING : factor.toFixed(2)
  }
  return [row.title, ...cells(own), ...peers.flatMap((peer) => [...cells(peer), compare(peer)])]
}

/** Why rows have no values, and what must be known of those they have. */
function notes(results: readonly RowResult[]): string[] {
  const lines = results.flatMap(({ row, own, peers, skipped }) => [
    ...(skipped === undefined ? [] : [`${row.name}: skipped: ${skipped}`]),
    ...[own, ...peers].flatMap(({ name, failure, remark }) => [
      ...(failure === undefined ? [] : [`${row.name}: ${name} cannot do this: ${failure}`]),
      ...(remark === undefined ? [] : [`${row.name}: ${name}: ${remark}`]),
    ]),
  ])
  return lines.length === 0 ? [] : ['', ...lines]
}

/** The same with every run, for programs. */
export function toJson({ machine, options, results }: Report): string {
  const rows = results.map((result) => ({
    name: result.row.name,
    title: result.row.title,
    skipped: result.skipped,
    figures: result.row.figures.map(({ label, unit, better }) => ({ label, unit, better })),
    endpoints: [result.own, ...result.peers].map((outcome) => outcomeToJson(outcome, result)),
  }))
  return `${JSON.stringify({ machine, options, rows }, null, 2)}\n`
}

function outcomeToJson(outcome: Outcome, { row, own }: RowResult): object {
  const figures = row.figures.map((_, index) => index)
  return {
    ...outcome,
    medians: figures.map((index) => valueOf(outcome, index)),
    // Of ours over this one, by figure.
    timesBetter: outcome === own ? undefined : figures.map((index) => timesBetter(row, index, own, outcome)),
  }
}
