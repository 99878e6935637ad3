/** Forwards requests to an origin server and answers with what it says; the core of reverse proxy and decoy. */
import type { Clock } from '../clock.ts'
import type { Counters } from '../counters.ts'
import type { TunnelRequest } from '../tunnel/session.ts'
import { OriginPool } from './origin-pool.ts'
import type { OriginAddress } from './origin-pool.ts'
import { ProxyExchange } from './proxy-exchange.ts'
import { StallWatch } from './stall-watch.ts'
import type { WebPages } from './web-pages.ts'

export interface OriginProxyOptions {
  origin: OriginAddress
  connectTimeoutMs: number
  /** To the response's head, while nothing moves in either direction. */
  responseTimeoutMs: number
  /** Once the response has begun, also for an upgraded connection. */
  idleTimeoutMs: number
  /** Exchanges under way; one more is answered 503. */
  maxExchanges: number
}

export interface OriginProxyDependencies {
  clock: Clock
  counters: Counters
  pages: WebPages
}

/** What differs from the request as it came. */
export interface ForwardOptions {
  /** Fields that the origin gets besides the client's. */
  headers?: Readonly<Record<string, string>>
  method?: string
}

export class OriginProxy {
  readonly options: OriginProxyOptions
  readonly deps: OriginProxyDependencies
  readonly pool: OriginPool
  readonly watch: StallWatch
  readonly #exchanges = new Set<ProxyExchange>()

  constructor(options: OriginProxyOptions, deps: OriginProxyDependencies) {
    this.options = options
    this.deps = deps
    this.pool = new OriginPool(options.origin, options.maxExchanges)
    this.watch = new StallWatch(deps.clock)
  }

  get exchanges(): number {
    return this.#exchanges.size
  }

  forward(request: TunnelRequest, options: ForwardOptions = {}): void {
    if (this.#exchanges.size >= this.options.maxExchanges) {
      this.deps.counters.count('proxy_failures', 'too_many')
      this.deps.pages.send(request, 503)
      return
    }
    const exchange = new ProxyExchange(request, this, options, () => this.#exchanges.delete(exchange))
    this.#exchanges.add(exchange)
    exchange.start()
  }

  /** Ends everything under way. */
  destroy(): void {
    for (const exchange of this.#exchanges) exchange.destroy()
    this.pool.destroy()
  }
}
