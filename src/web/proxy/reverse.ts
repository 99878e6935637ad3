/** A site of the operator's behind a path or a host name, for the three HTTP versions alike. */
import type { PlainExchange } from '../../contract/exchange.ts'
import type { OriginProxy } from './origin.ts'

export interface ReverseProxyOptions {
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

  handle(request: PlainExchange): void {
    const { protocol } = request.session
    const headers = { 'x-original-protocol': protocol }
    const asConnect =
      this.#options.h3BackwardCompatibility &&
      protocol === 'HTTP3' &&
      request.method === 'GET' &&
      request.path === '/'
    this.#proxy.forward(request, asConnect ? { headers, method: 'CONNECT' } : { headers })
  }

  destroy(): void {
    this.#proxy.destroy()
  }
}
