/** The order in which things happen, for tests of time limits: a comparison with a timer started first, not with a clock. */

export class Happened {
  readonly #order: string[] = []
  readonly #pending: Promise<unknown>[] = []

  /** Notes `name` when `event` has come. */
  note(name: string, event: Promise<unknown>): void {
    this.#pending.push(event.then(() => this.#order.push(name)))
  }

  /** The names in the order of their events, once all have come. */
  async all(): Promise<readonly string[]> {
    await Promise.all(this.#pending)
    return this.#order
  }
}
