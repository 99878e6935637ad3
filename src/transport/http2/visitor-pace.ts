/**
 * nginx answers a visitor while it reads: what follows a request is looked at when the answer is out, or stands still.
 * Here answers take a moment, and whoever sends several frames at once could tell by their order. So reading waits for
 * that moment; once an answer has taken longer, a session waits no more.
 */
import type { Clock, Timer } from '../../clock.ts'
import type { Http2Stream } from './stream.ts'

const PATIENCE_MS = 200

interface Reading {
  pause(): void
  resume(): void
}

export class VisitorPace {
  readonly #clock: Clock
  readonly #reading: Reading
  #patience: Timer | undefined
  #isOver = false

  constructor(clock: Clock, reading: Reading) {
    this.#clock = clock
    this.#reading = reading
  }

  /** A visitor's request has been handed on. */
  onRequest(stream: Http2Stream): void {
    if (this.#isOver || stream.isSettled) return
    this.#reading.pause()
    this.#patience = this.#clock.after(PATIENCE_MS, () => this.end())
    // Not at once: what belongs to the answer may still follow in this turn.
    stream.onSettled = () => setImmediate(() => this.#goOn())
  }

  /** Nobody is waited for any more. */
  end(): void {
    this.#isOver = true
    this.#goOn()
  }

  #goOn(): void {
    this.#patience?.cancel()
    this.#patience = undefined
    this.#reading.resume()
  }
}
