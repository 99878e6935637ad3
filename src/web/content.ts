/** The content of an answer on its way to a slow client, and what to do with the rest of the request it answers. */
import type { Writable } from 'node:stream'
import type { Clock } from '../clock.ts'
import type { Exchange, PlainExchange } from '../contract/exchange.ts'
import type { IdleMonitor, IdleWatch, Watched } from '../relay/idle-monitor.ts'

/** nginx's `lingering_time`. */
const LINGER_MS = 30_000

type Done = (error?: Error | null) => void

/** Writes piece by piece, waits for a slow client, and gives up on one that has stalled. */
export class ContentWriter implements Watched {
  readonly #exchange: Exchange
  readonly #sink: Writable
  readonly #watch: IdleWatch
  #pieces = 0
  #settle: ((alive: boolean) => void) | undefined

  /** `release` must be called afterwards. */
  constructor(exchange: Exchange, sink: Writable, idleMonitor: IdleMonitor, limitMs: number) {
    this.#exchange = exchange
    this.#sink = sink
    this.#watch = idleMonitor.watch(limitMs, this)
  }

  /**
   * Resolves with true when there is room for more, with false when there never will be. `chunk` must not change
   * afterwards.
   */
  write(chunk: Buffer): Promise<boolean> | boolean {
    const sink = this.#sink
    if (sink.destroyed || sink.errored) return false
    this.#pieces++
    return sink.write(chunk) ? true : this.#drained()
  }

  /** As {@link write}, but waits until nothing of `chunk` is in memory any more. `last` ends the content. */
  send(chunk: Buffer, last: boolean): Promise<boolean> {
    this.#pieces++
    return this.until((done) => {
      if (last) this.#sink.end(chunk, done)
      else this.#sink.write(chunk, done)
    })
  }

  end(): void {
    this.#sink.end()
  }

  /** Ends the watch. */
  release(): void {
    this.#watch.cancel()
  }

  /** For the idle monitor. */
  activity(): number {
    return this.#pieces
  }

  /** For the idle monitor: the client has stalled. */
  onIdle(): void {
    this.#exchange.reset('cancel')
    // An answer that waits behind another one on its connection never learns of the end.
    this.#settle?.(false)
  }

  #drained(): Promise<boolean> {
    const sink = this.#sink
    let onDrain: (() => void) | undefined
    return this.until((done) => {
      onDrain = () => done()
      sink.on('drain', onDrain)
    }).finally(() => onDrain && sink.off('drain', onDrain))
  }

  /** Resolves with true when `begin` reports success, with false when it fails or the client is lost before. */
  until(begin: (done: Done) => void): Promise<boolean> {
    const sink = this.#sink
    if (sink.destroyed || sink.errored) return Promise.resolve(false)
    return new Promise((resolve) => {
      const settle = (alive: boolean): void => {
        sink.off('close', onClose)
        sink.off('error', onClose)
        this.#settle = undefined
        resolve(alive)
      }
      const onClose = (): void => settle(false)
      this.#settle = settle
      // Neither `drain` nor a callback need come once the stream is destroyed.
      sink.on('close', onClose)
      sink.on('error', onClose)
      begin((error) => settle(!error))
    })
  }
}

/** Discards what the client still sends, so that it gets to read the answer; after a while the client is cut off. */
export function discardContent(exchange: PlainExchange, clock: Clock): void {
  const body = exchange.body()
  if (body.readableEnded || body.destroyed) return
  exchange.withholdWindow?.()
  const timer = clock.after(LINGER_MS, () => exchange.reset('no_error'))
  const cancel = (): void => timer.cancel()
  body.once('end', cancel)
  body.once('close', cancel)
  body.resume()
}
