/** Moves content from one stream to another with backpressure, for exchanges whose two directions run at once. */
import type { Readable, Writable } from 'node:stream'

/**
 * `ended`: everything was moved, and the sink was ended. `short`: the source ended before `limitBytes`. `source_lost`
 * and `sink_lost`: that stream was lost before the end.
 */
export type PumpOutcome = 'ended' | 'short' | 'source_lost' | 'sink_lost'

export interface PumpOptions {
  /** The declared length. Anything above it is cut off: it must not reach the next message on the sink's connection. */
  limitBytes?: number | undefined
  /** Asked when the source has ended: false when that was not a proper end. The sink is then left open. */
  isWhole?: () => boolean
  /** Called once. */
  onDone(outcome: PumpOutcome): void
}

/** Starts at once; `stop` leaves both streams alone. `source` and `sink` may be the two halves of one stream. */
export class Pump {
  readonly #source: Readable
  readonly #sink: Writable
  readonly #options: PumpOptions
  #left: number
  #bytes = 0
  #done = false

  constructor(source: Readable, sink: Writable, options: PumpOptions) {
    this.#source = source
    this.#sink = sink
    this.#options = options
    this.#left = options.limitBytes ?? Infinity
    source.on('data', this.#onData)
    source.once('end', this.#onEnd)
    source.once('close', this.#onSourceLost)
    source.once('error', this.#onSourceLost)
    sink.on('drain', this.#onDrain)
    sink.once('close', this.#onSinkLost)
    sink.once('error', this.#onSinkLost)
    // Later, so that `onDone` never runs inside the constructor.
    queueMicrotask(() => this.#checkAlive())
  }

  get done(): boolean {
    return this.#done
  }

  /** Bytes written so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** Idempotent; `onDone` is not called after it. */
  stop(): void {
    if (this.#done) return
    this.#done = true
    this.#source.off('data', this.#onData)
    this.#source.off('end', this.#onEnd)
    this.#source.off('close', this.#onSourceLost)
    this.#source.off('error', this.#onSourceLost)
    this.#sink.off('drain', this.#onDrain)
    this.#sink.off('close', this.#onSinkLost)
    this.#sink.off('error', this.#onSinkLost)
  }

  /** Notices ends that came before we listened. */
  #checkAlive(): void {
    if (this.#done) return
    if (this.#source.readableEnded) this.#onEnd()
    else if (this.#source.destroyed) this.#onSourceLost()
    else if (this.#sink.destroyed) this.#onSinkLost()
    else this.#source.resume()
  }

  #finish(outcome: PumpOutcome): void {
    if (this.#done) return
    this.stop()
    this.#options.onDone(outcome)
  }

  readonly #onData = (chunk: Buffer): void => {
    const whole = chunk.length <= this.#left
    const part = whole ? chunk : chunk.subarray(0, this.#left)
    this.#left -= part.length
    this.#bytes += part.length
    if (part.length > 0 && !this.#sink.write(part)) this.#source.pause()
  }

  readonly #onDrain = (): void => {
    this.#source.resume()
  }

  readonly #onEnd = (): void => {
    if (this.#options.isWhole?.() === false) return this.#finish('source_lost')
    const short = this.#left > 0 && this.#left !== Infinity
    if (!short) this.#sink.end()
    this.#finish(short ? 'short' : 'ended')
  }

  readonly #onSourceLost = (): void => {
    this.#finish('source_lost')
  }

  readonly #onSinkLost = (): void => {
    this.#finish('sink_lost')
  }
}
