/** Input of a connection that nobody looks at yet. */

/** Then the socket is not read. */
const MAX_WAITING_BYTES = 65_536
/** What a piece needs beyond its content, so that bytes sent one by one are no way to more. */
const PIECE_OVERHEAD_BYTES = 512

export class WaitingInput {
  #pieces: Buffer[] = []
  #bytes = 0

  get isTooMuch(): boolean {
    return this.#bytes + PIECE_OVERHEAD_BYTES * this.#pieces.length >= MAX_WAITING_BYTES
  }

  get pieces(): readonly Buffer[] {
    return this.#pieces
  }

  add(chunk: Buffer): void {
    this.#pieces.push(chunk)
    this.#bytes += chunk.length
  }

  /** What is left of the oldest. */
  putBack(rest: Buffer): void {
    if (rest.length === 0) return
    this.#pieces.unshift(rest)
    this.#bytes += rest.length
  }

  takeOldest(): Buffer | undefined {
    const chunk = this.#pieces.shift()
    this.#bytes -= chunk?.length ?? 0
    return chunk
  }

  takeAll(): Buffer[] {
    const all = this.#pieces
    this.#pieces = []
    this.#bytes = 0
    return all
  }
}
