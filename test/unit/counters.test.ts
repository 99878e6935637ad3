/**
 * The list of counters is what the metrics page and the documents are made from: it must be complete, and all of it
 * used.
 */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Counters, GAUGES, TOTALS } from '../../src/counters.ts'

const ROOT = join(import.meta.dirname, '../..')
const LISTED: Readonly<Record<string, { doc: string; labels?: readonly string[]; prefix?: string }>> = {
  ...TOTALS,
  ...GAUGES,
}

describe('the list of counters', () => {
  it('the list of counters says of each in a sentence what it counts', () => {
    const wrong = Object.entries(LISTED).filter(([, { doc }]) => !/^[A-Z].*\.$/.test(doc))
    expect(wrong).toEqual([])
  })

  it('the list of counters has no name twice', () => {
    expect(Object.keys(TOTALS).filter((name) => name in GAUGES)).toEqual([])
  })

  it('the list of counters has nothing that nobody counts', () => {
    const source = globSync('src/**/*.ts', { cwd: ROOT })
      .filter((file) => file !== 'src/counters.ts')
      .map((file) => readFileSync(join(ROOT, file), 'utf8'))
      .join('\n')
    const used = (name: string): boolean => new RegExp(`(?:count|gauge)\\(\\s*'${name}'`).test(source)
    expect(Object.keys(LISTED).filter((name) => !used(name))).toEqual([])
  })

  it('the list of counters has every counter that docs/limits.md names, with its label', () => {
    const rows = readFileSync(join(ROOT, 'docs/limits.md'), 'utf8').split('\n').slice(1)
    const cells = rows.filter((row) => row.startsWith('| ')).map((row) => row.split('|').at(-2) ?? '')
    const named = cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name))
    expect(named.length).toBeGreaterThan(20)
    const unknown = named.filter((text) => {
      const [, name = '', label] = /^(\w+)(?:\{(\w+)\})?$/.exec(text) ?? []
      const { labels = [], prefix } = LISTED[name] ?? {}
      const fits = label === undefined || labels.includes(label) || (prefix && label.startsWith(prefix))
      return !(name in LISTED) || !fits
    })
    expect(unknown).toEqual([])
  })
})

describe('counting', () => {
  it('counting adds up by name and label', () => {
    const counters = new Counters()
    counters.count('udp_flows')
    counters.count('spill_bytes', undefined, 5)
    counters.count('sessions_total', 'HTTP2')
    counters.count('sessions_total', 'HTTP2', 2)
    counters.count('gate_denied', '7')
    counters.count('icmp_drops', 'ENETUNREACH')
    counters.gauge('open_streams', () => 9)
    counters.gauge('client_sessions', 'HTTP3', () => 4)
    expect(counters.snapshot()).toEqual({
      udp_flows: 1,
      spill_bytes: 5,
      'sessions_total{HTTP2}': 3,
      'gate_denied{7}': 1,
      'icmp_drops{ENETUNREACH}': 1,
      open_streams: 9,
      'client_sessions{HTTP3}': 4,
    })
    expect(counters.read('open_streams')).toBe(9)
    expect(counters.read('gate_connections')).toBe(0)
  })

  it('counting does not compile with a name or a label that is not listed', () => {
    const counters = new Counters()
    // The directives below are errors themselves as soon as one of these lines compiles.
    // @ts-expect-error an unknown name
    counters.count('gate_droped', 'closing')
    // @ts-expect-error an unknown label
    counters.count('gate_dropped', 'close')
    // @ts-expect-error a label is missing
    counters.count('gate_dropped')
    // @ts-expect-error a label where there is none
    counters.count('udp_flows', 'idle')
    // @ts-expect-error not a number
    counters.count('gate_denied', 'first')
    // @ts-expect-error a total is no gauge
    counters.gauge('udp_flows', () => 1)
    expect(() => {
      counters.gauge('open_streams', () => 1)
      counters.gauge('open_streams', () => 2)
    }).toThrow('registered twice')
  })
})
