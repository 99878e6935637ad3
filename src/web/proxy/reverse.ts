/**
 * The operator's own web servers: behind a path or a host name, or as what strangers see. The same for all HTTP
 * versions.
 */
import type { Exchange, PlainExchange } from '../../contract/exchange.ts'
import type { Decoy } from '../nginx/decoy-site.ts'
import type { WebPages } from '../nginx/web-pages.ts'
import type { OriginProxy } from './origin.ts'

interface ReverseProxyOptions {
  /** `GET /` over HTTP/3 reaches the origin as CONNECT. */
  h3BackwardCompatibility: boolean
}

export class ReverseProxy {
  readonly #options: ReverseProxyOptions
  readonly #proxy: OriginProxy

  constructor(options: ReverseProxyOptions, proxy: OriginProxy) {
    this.#options = options
    this.#proxy = proxy
  }

  handle(exchange: PlainExchange): void {
    const { protocol } = exchange.session
    const headers = { 'x-original-protocol': protocol }
    const asConnect =
      this.#options.h3BackwardCompatibility &&
      protocol === 'HTTP3' &&
      exchange.method === 'GET' &&
      exchange.path === '/'
    this.#proxy.forward(exchange, { headers, asConnect })
  }

  destroy(): void {
    this.#proxy.destroy()
  }
}

/** A decoy that is a web server of the operator's: strangers get its answers. */
export class DecoyOrigin implements Decoy {
  readonly #proxy: OriginProxy
  readonly #pages: WebPages

  constructor(proxy: OriginProxy, pages: WebPages) {
    this.#proxy = proxy
    this.#pages = pages
  }

  handle(exchange: Exchange): void {
    // A front end that is not a forward proxy answers these itself.
    if (exchange.kind === 'connect' || exchange.method === 'TRACE') this.#pages.send(exchange, 405)
    else this.#proxy.forward(exchange)
  }
}
