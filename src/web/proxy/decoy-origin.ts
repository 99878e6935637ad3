/** A decoy that is a web server of the operator's: strangers get its answers. */
import type { Exchange } from '../../contract/exchange.ts'
import type { Decoy } from '../nginx/decoy-site.ts'
import type { OriginProxy } from './origin.ts'
import type { WebPages } from '../nginx/web-pages.ts'

export class DecoyOrigin implements Decoy {
  readonly #proxy: OriginProxy
  readonly #pages: WebPages

  constructor(proxy: OriginProxy, pages: WebPages) {
    this.#proxy = proxy
    this.#pages = pages
  }

  handle(request: Exchange): void {
    // A front that is not a forward proxy answers these itself.
    if (request.kind === 'connect' || request.method === 'TRACE') this.#pages.send(request, 405)
    else this.#proxy.forward(request)
  }
}
