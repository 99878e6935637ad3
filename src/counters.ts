/**
 * What is counted: totals that only grow (with at most one label) and gauges that are asked when read.
 * Names and labels are those of the metrics page; nothing here knows who reads them.
 */

export class Counters {
  readonly #totals = new Map<string, number>()
  readonly #gauges = new Map<string, () => number>()

  /** Adds `n` to `name`, or to `name{label}`. */
  count(name: string, label?: string, n = 1): void {
    const key = label === undefined ? name : `${name}{${label}}`
    this.#totals.set(key, (this.#totals.get(key) ?? 0) + n)
  }

  /** Registers a value read at snapshot time. A second gauge of one name is a fault in the wiring. */
  gauge(name: string, read: () => number): void {
    if (this.#gauges.has(name)) throw new Error(`gauge ${name} is registered twice`)
    this.#gauges.set(name, read)
  }

  /** The value of a gauge now; 0 before there is one of this name. */
  read(name: string): number {
    return this.#gauges.get(name)?.() ?? 0
  }

  /** Totals and gauges by name; a plain object, fit for a message between threads. */
  snapshot(): Record<string, number> {
    const result: Record<string, number> = Object.fromEntries(this.#totals)
    for (const [name, read] of this.#gauges) result[name] = read()
    return result
  }
}
