/** The content of the request that a session works on: read by whoever answers, or discarded. */
import { Readable } from 'node:stream'
import { ContentDecoder } from '../../wire/http1/content.ts'
import type { ContentFraming } from '../../wire/http1/head.ts'
import { keptPiece } from '../../wire/kept-piece.ts'

export class RequestContent {
  readonly #framing: ContentFraming
  readonly #decoder: ContentDecoder
  /** Called when there is room for more content. */
  readonly #onRoom: () => void
  #body: Body | undefined
  #begun = false
  #discarding = false

  constructor(framing: ContentFraming, onRoom: () => void) {
    this.#framing = framing
    this.#decoder = new ContentDecoder(framing)
    this.#onRoom = onRoom
  }

  /** All of it has been read or discarded. */
  get done(): boolean {
    return this.#decoder.state === 'done'
  }

  get malformed(): boolean {
    return this.#decoder.state === 'malformed'
  }

  /** Somebody reads, or it is discarded: {@link push} takes whole chunks. */
  get wanted(): boolean {
    return this.#decoder.state === 'more' && (this.#discarding || this.#body?.hungry === true)
  }

  get body(): Readable {
    if (this.#body === undefined) {
      this.#body = new Body(this.#onRoom, () => this.discard())
      if (this.#decoder.state !== 'more') this.#end()
      else if (this.#discarding) this.#body.destroy()
    }
    return this.#body
  }

  /** Returns how much of `chunk` belongs to the content. */
  push(chunk: Buffer): number {
    this.#begun = true
    const taken = this.#decoder.push(chunk, (piece) => this.#discarding || this.#body?.deliver(piece))
    if (this.#decoder.state !== 'more') this.#end()
    return taken
  }

  /** Whether it is broken, as far as it has come; `chunks` wait to be pushed. */
  breaksIn(chunks: readonly Buffer[]): boolean {
    if (this.#framing.kind !== 'chunked' || this.#begun) return this.#decoder.state === 'malformed'
    const decoder = new ContentDecoder(this.#framing)
    for (const chunk of chunks) decoder.push(chunk, ignorePiece)
    return decoder.state === 'malformed'
  }

  /** Nobody reads any more. Idempotent. */
  discard(): void {
    if (this.#discarding) return
    this.#discarding = true
    if (!this.done) this.#body?.destroy()
    this.#onRoom()
  }

  /** The client sends no more of it. */
  cut(): void {
    if (!this.done) this.#body?.destroy()
  }

  #end(): void {
    if (this.done) this.#body?.push(null)
    else this.#body?.destroy()
  }
}

class Body extends Readable {
  readonly #onRoom: () => void
  readonly #onGivenUp: () => void
  hungry = false

  constructor(onRoom: () => void, onGivenUp: () => void) {
    super()
    this.#onRoom = onRoom
    this.#onGivenUp = onGivenUp
    this.on('error', ignoreError)
  }

  deliver(piece: Buffer): void {
    if (!this.push(keptPiece(piece))) this.hungry = false
  }

  override _read(): void {
    this.hungry = true
    this.#onRoom()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#onGivenUp()
    done(error)
  }
}

function ignoreError(): void {}
function ignorePiece(): void {}
