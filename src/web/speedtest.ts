/**
 * The speed test: `GET /{N}mb.bin` sends N MiB of zeros, `POST /upload.html` takes up to 120 MiB. Anything else is 400
 * without content. A download has no content-length; clients are used to that.
 */
import { Places } from './places.ts'
import type { PlaceRecord } from './places.ts'
import type { Counters } from '../counters.ts'
import type { Exchange, PlainExchange } from '../contract/exchange.ts'
import { ContentWriter } from './content.ts'
import type { IdleMonitor } from '../relay/idle-monitor.ts'
import type { WebPages } from './nginx/web-pages.ts'

const MIB = 1_048_576
const MAX_DOWNLOAD_MIB = 100
const MAX_UPLOAD_BYTES = 125_829_120
const CHUNK = Buffer.alloc(65_536)

interface SpeedtestOptions {
  /** Tests in progress at one time; any further one is answered 503. */
  maxConcurrent: number
  /** The same for one address, or one /64 of IPv6. */
  maxPerAddress: number
  /** A test in which nothing moves for this long is abandoned. */
  stallTimeoutMs: number
}

interface SpeedtestDependencies {
  counters: Counters
  pages: WebPages
  idleMonitor: IdleMonitor
  places: PlaceRecord
}

export class Speedtest {
  readonly #options: SpeedtestOptions
  readonly #deps: SpeedtestDependencies
  readonly #places: Places

  constructor(options: SpeedtestOptions, deps: SpeedtestDependencies) {
    this.#options = options
    this.#places = new Places(
      { total: options.maxConcurrent, perAddress: options.maxPerAddress },
      deps.places,
    )
    this.#deps = deps
  }

  get running(): number {
    return this.#places.taken
  }

  /** `path` is what follows the base path, with or without a query. */
  handle(exchange: Exchange, path: string): void {
    const run = exchange.kind === 'plain' ? this.#choose(exchange, path) : undefined
    if (run === undefined) return this.#refuse(exchange, 400)
    const place = this.#places.take(exchange.session.remoteAddress)
    if (typeof place === 'string') {
      this.#deps.counters.count('speedtest_refusals', place)
      return this.#refuse(exchange, 503)
    }
    run()
      .catch(() => exchange.reset('internal_error'))
      .finally(place)
  }

  #choose(exchange: PlainExchange, target: string): (() => Promise<void>) | undefined {
    const path = target.replace(/\?.*$/s, '')
    if (exchange.method === 'GET') {
      const mebibytes = Number(/^\/?0*(\d{1,3})mb\.bin$/.exec(path)?.[1] ?? 0)
      if (mebibytes >= 1 && mebibytes <= MAX_DOWNLOAD_MIB) return () => this.#download(exchange, mebibytes)
    } else if (exchange.method === 'POST' && /^\/?upload\.html$/.test(path)) {
      const declared = exchange.headers['content-length'] ?? ''
      const length = /^\d{1,9}$/.test(declared) ? Number(declared) : 0
      if (length >= 1 && length <= MAX_UPLOAD_BYTES) return () => this.#upload(exchange, length)
    }
    return undefined
  }

  #refuse(exchange: Exchange, status: number): void {
    exchange.refuse(status, this.#deps.pages.opening())
  }

  async #download(exchange: PlainExchange, mebibytes: number): Promise<void> {
    const sink = exchange.respond(200, {
      ...this.#deps.pages.opening(),
      'content-type': 'application/octet-stream',
      'access-control-allow-origin': '*',
    })
    const writer = new ContentWriter(exchange, sink, this.#deps.idleMonitor, this.#options.stallTimeoutMs)
    try {
      for (let left = (mebibytes * MIB) / CHUNK.length; left > 0; left--) {
        if (!(await writer.write(CHUNK))) return
      }
      writer.end()
    } finally {
      writer.release()
    }
  }

  async #upload(exchange: PlainExchange, length: number): Promise<void> {
    const received = await this.#receive(exchange, length)
    if (received === length) {
      exchange.refuse(200, this.#deps.pages.opening())
    } else if (!exchange.signal.aborted) this.#refuse(exchange, 400)
  }

  /** Counts and discards content until there were `length` bytes or there is no more. */
  #receive(exchange: PlainExchange, length: number): Promise<number> {
    const body = exchange.body()
    return new Promise((resolve) => {
      let received = 0
      const onData = (chunk: Buffer): void => {
        received += chunk.length
        if (received >= length) finish()
      }
      const finish = (): void => {
        watch.cancel()
        body.off('data', onData)
        for (const event of ENDS) body.off(event, finish)
        resolve(Math.min(received, length))
      }
      const watch = this.#deps.idleMonitor.watch(this.#options.stallTimeoutMs, {
        activity: () => received,
        onIdle: () => exchange.reset('cancel'),
      })
      for (const event of ENDS) body.on(event, finish)
      body.on('data', onData)
    })
  }
}

const ENDS = ['end', 'close', 'error'] as const
