/**
 * The values of the fields that Node gives are strings over memory of its HTTP/2 library (nodejs/node
 * src/node_http_common-inl.h, `NgRcBufPointer::External`), which is free only after a full collection. Nothing that V8
 * counts makes it collect because of them: requests with 50 KB of fields, each reset at once, took 50 MB a second for
 * as long as they came. So their bytes are counted here.
 */

/** An ordinary head has 300 bytes, so it takes 100,000 requests to get here. Half of what a session may hold. */
const COLLECT_AFTER_BYTES = 32 * 1024 * 1024

/** One for all sessions of a thread. */
export class HeadMemory {
  readonly #collect: () => void
  #bytes = 0

  /** @param collect frees memory that is no longer used. */
  constructor(collect: () => void) {
    this.#collect = collect
  }

  /** @param rawHeaders names and values in turn. */
  onHead(rawHeaders: readonly string[]): void {
    for (let index = 1; index < rawHeaders.length; index += 2) this.#bytes += rawHeaders[index]?.length ?? 0
    if (this.#bytes < COLLECT_AFTER_BYTES) return
    this.#bytes = 0
    this.#collect()
  }
}
