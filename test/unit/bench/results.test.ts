import { describe, expect, it } from 'vitest'
import { pickRows, type Row } from '../../bench/plan.ts'
import { formatTable, toJson } from '../../bench/report.ts'
import { formatGoals, GOAL_ROWS, isReached } from '../../bench/goals.ts'
import { timesBetter, valueOf, type Outcome, type RowResult } from '../../bench/results.ts'

function rowOf(name: string): Row {
  const [row] = pickRows([name])
  if (row === undefined) throw new Error(`no row ${name}`)
  return row
}

const outcome = (name: string, runs: number[][], more: Partial<Outcome> = {}): Outcome => ({
  name,
  runs,
  peakRssMib: [],
  busy: [],
  ...more,
})

const MACHINE = {
  date: '2026-11-21T10:00:00.000Z',
  cpu: 'processor',
  cores: 2,
  memoryGib: 24,
  kernel: '6 x64',
  node: 'v26',
  loadAverage: 0,
  pinning: undefined,
}

describe('a comparison', () => {
  const row = rowOf('h2-down-1')

  it('takes medians over the rounds', () => {
    expect(valueOf(outcome('a', [[1], [9], [2]]), 0)).toBe(2)
    expect(valueOf(outcome('a', [[1], [2]]), 0)).toBe(1.5)
  })

  it('is the median of the ratios of each round, not the ratio of the medians', () => {
    // The machine is three times slower in the second round, for both; medians alone would say 1.
    const own = outcome('own', [
      [100, 1],
      [30, 3],
      [100, 1],
    ])
    const peer = outcome('peer', [
      [50, 2],
      [15, 6],
      [100, 1],
    ])
    expect(timesBetter(row, 0, own, peer)).toBe(2)
    expect(timesBetter(row, 1, own, peer)).toBe(2)
  })

  it('is above one for more throughput and for less cost', () => {
    const [own, peer] = [outcome('own', [[200, 1]]), outcome('peer', [[100, 3]])]
    expect(timesBetter(row, 0, own, peer)).toBe(2)
    expect(timesBetter(row, 1, own, peer)).toBe(3)
  })

  it('has no result after a failure', () => {
    const failed = outcome('peer', [[100, 3]], { failure: 'refused' })
    expect(timesBetter(row, 1, outcome('own', [[200, 1]]), failed)).toBeNaN()
    expect(valueOf(failed, 1)).toBeNaN()
  })
})

describe('the report', () => {
  const results: RowResult[] = [
    {
      row: rowOf('h2-down-1'),
      own: outcome('culvert', [[800, 1]]),
      peers: [outcome('before', [[700, 1.5]]), outcome('rust', [], { failure: 'does not start' })],
    },
    {
      row: rowOf('lanes-2'),
      own: outcome('culvert', [[900, 1, 47]], { remark: 'one lane' }),
      peers: [outcome('before', [[900, 1, 0]]), outcome('rust', [[900, 2, 50]])],
    },
    { row: rowOf('mtu1500'), own: outcome('culvert', []), peers: [], skipped: 'needs root' },
  ]
  const report = { machine: MACHINE, options: { runs: 1 }, results }

  it('has the values of each endpoint and one factor for each peer', () => {
    const lines = formatTable(report).split('\n')
    const cells = (start: string) =>
      lines
        .find((line) => line.startsWith(`| ${start}`))
        ?.split('|')
        .slice(1, -1)
        .map((cell) => cell.trim())
    const heads = [
      'work',
      'culvert',
      '',
      '',
      'before',
      '',
      '',
      'times better',
      'rust',
      '',
      '',
      'times better',
    ]
    expect(cells('work')).toEqual(heads)
    expect(cells('HTTP/2 download, 1 stream')?.join('|')).toBe(
      'HTTP/2 download, 1 stream|800 MB/s|1.00 CPU-s/GiB||700 MB/s|1.50 CPU-s/GiB||1.50|–|–||–',
    )
    expect(cells('HTTP/2 download, 64 sessions')?.slice(1, 4)).toEqual([
      '900 MB/s',
      '1.00 CPU-s/GiB',
      '47.0 %',
    ])
  })

  it('says why values are missing and what to know of others', () => {
    const text = formatTable(report)
    expect(text).toContain('h2-down-1: rust cannot do this: does not start')
    expect(text).toContain('lanes-2: culvert: one lane')
    expect(text).toContain('mtu1500-h3-down-1: skipped: needs root')
  })

  it('is JSON with every run for programs', () => {
    const { rows } = JSON.parse(toJson(report)) as {
      rows: { endpoints: { name: string; runs: number[][]; timesBetter?: number[] }[] }[]
    }
    expect(rows[0]?.endpoints[1]).toMatchObject({ name: 'before', runs: [[700, 1.5]] })
    expect(rows[0]?.endpoints[1]?.timesBetter).toEqual([expect.closeTo(8 / 7), 1.5])
  })
})

describe('the targets', () => {
  const verdicts = (results: RowResult[]) =>
    new Map(
      formatGoals(results)
        .split('\n')
        .slice(2)
        .map((line) => line.split('|').map((cell) => cell.trim()))
        .map(([, title = '', bound, measured, unit, verdict]) => [title, { bound, measured, unit, verdict }]),
    )

  it('are measured in rows that exist', () => expect(() => GOAL_ROWS.map(rowOf)).not.toThrow())

  it('are all listed as not measured when nothing was', () => {
    const all = [...verdicts([]).values()]
    expect(all.length).toBeGreaterThan(12)
    expect(new Set(all.map(({ verdict }) => verdict))).toEqual(new Set(['not measured']))
  })

  it('compare with the peer called before', () => {
    const result: RowResult = {
      row: rowOf('h2-connect'),
      own: outcome('culvert', [[10_000, 100]]),
      peers: [outcome('rust', [[10_000, 50]]), outcome('before', [[5000, 169]])],
    }
    expect(verdicts([result]).get('CONNECT, ping, close')).toEqual({
      bound: 'at least 1.7',
      measured: '1.69',
      unit: 'times better',
      verdict: 'not reached',
    })
  })

  it('compare two lanes with one round by round', () => {
    const lanes = (name: string, runs: number[][]): RowResult => ({
      row: rowOf(name),
      own: outcome('culvert', runs),
      peers: [],
    })
    // Twice the cost in the second round, for both.
    const one = lanes('lanes-1', [
      [1, 1],
      [1, 2],
      [1, 1],
    ])
    const two = lanes('lanes-2', [
      [1, 1.04, 45],
      [1, 2.08, 39],
      [1, 1.04, 44],
    ])
    const table = verdicts([one, two])
    expect(table.get('two lanes against one: more CPU per GiB')).toMatchObject({
      measured: '4.0',
      verdict: 'reached',
    })
    expect(table.get('two lanes: bytes of the lesser one')).toMatchObject({
      measured: '44.0',
      verdict: 'reached',
    })
  })

  it('are reached at their bound', () => {
    expect(isReached({ bound: { atLeast: 4 } }, 4)).toBe(true)
    expect(isReached({ bound: { atLeast: 4 } }, 3.99)).toBe(false)
    expect(isReached({ bound: { atMost: 5 } }, 5)).toBe(true)
    expect(isReached({ bound: { atMost: 5 } }, 5.01)).toBe(false)
  })
})
