/**
 * Changes of what is in force, one after another. A request never joins a change that has begun: that one may have
 * read the files already. It shares one that still waits, which has not.
 */
export class ChangeQueue {
  readonly #waiting = new Map<string, Promise<void>>()
  #last: Promise<unknown> = Promise.resolve()

  /** Settles as `run` does, which begins when everything asked for before is over. */
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
