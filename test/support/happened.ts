/**
 * Records the order in which things happen, for tests of time limits: they compare with a timer started before, not
 * with a clock.
 */

export class Happened {
  readonly #order: string[] = []
  readonly #pending: Promise<unknown>[] = []

  /** Notes `name` when `event` has happened. */
  note(name: string, event: Promise<unknown>): void {
    this.#pending.push(event.then(() => this.#order.push(name)))
  }

  /** The names in the order of their events, once all have happened. */
  async all(): Promise<readonly string[]> {
    await Promise.all(this.#pending)
    return this.#order
  }
}
