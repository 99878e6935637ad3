/**
 * Adds up what lanes count. A lane that dies takes its gauges along, but not its totals as they were last read: a total
 * never goes down for whoever watches it.
 */
import { GAUGES } from '../counters.ts'

type Stats = Readonly<Record<string, number>>

export class LaneStats {
  /** As last read, by lane. */
  readonly #read = new Map<number, Stats>()
  /** Totals of lanes that have died. */
  readonly #kept = new Map<string, number>()

  /** The sum over lanes that are alive and those that are not. */
  sum(live: ReadonlyMap<number, Stats>): Record<string, number> {
    const sum = new Map(this.#kept)
    for (const [lane, stats] of live) {
      this.#read.set(lane, stats)
      addTo(sum, Object.entries(stats))
    }
    return Object.fromEntries(sum)
  }

  onDeath(lane: number): void {
    const totals = Object.entries(this.#read.get(lane) ?? {}).filter(([key]) => !isGauge(key))
    this.#read.delete(lane)
    addTo(this.#kept, totals)
  }
}

function addTo(sum: Map<string, number>, stats: Iterable<[string, number]>): void {
  for (const [key, value] of stats) sum.set(key, (sum.get(key) ?? 0) + value)
}

/** @param key a name, or `name{label}`. */
function isGauge(key: string): boolean {
  const [name = ''] = key.split('{')
  return name in GAUGES
}
