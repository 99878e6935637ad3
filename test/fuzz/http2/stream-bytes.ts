/** The content of a stream: every byte follows from the stream and its place, so that none can be lost or moved. */

const PERIOD = 251
const BASE = Buffer.from(Array.from({ length: PERIOD + 70_000 }, (_, index) => index % PERIOD))

/** At most 70,000 bytes. */
export function streamBytes(stream: number, offset: number, length: number): Buffer {
  const start = (offset + 13 * stream) % PERIOD
  return BASE.subarray(start, start + length)
}

/** What one side sees of the other's content. */
export class ContentCheck {
  bytes = 0
  fault: string | undefined
  readonly #stream: number

  constructor(stream: number) {
    this.#stream = stream
  }

  take(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; at += 65_536) {
      const part = chunk.subarray(at, at + 65_536)
      if (!part.equals(streamBytes(this.#stream, this.bytes, part.length)))
        this.fault ??= `content of stream ${this.#stream} is wrong behind byte ${this.bytes}`
      this.bytes += part.length
    }
  }
}
