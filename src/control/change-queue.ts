/**
 * Runs changes to what is in force one after another. A request never joins a change that has begun, because that one
 * may have read the files already. It does join one that is still waiting.
 */
export class ChangeQueue {
  readonly #waiting = new Map<string, Promise<void>>()
  #last: Promise<unknown> = Promise.resolve()

  /** Settles as `run` does; `run` begins when everything requested before it is over. */
  request(kind: string, run: () => Promise<void>): Promise<void> {
    const waiting = this.#waiting.get(kind)
    if (waiting !== undefined) return waiting
    const change = this.#last.then(() => {
      this.#waiting.delete(kind)
      return run()
    })
    this.#waiting.set(kind, change)
    this.#last = change.catch(() => {})
    return change
  }
}
