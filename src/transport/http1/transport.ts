/** HTTP/1.1 (RFC 9112) as sessions and requests. */
import type { TransportConnection } from '../tls.ts'
import { Http1Session } from './session.ts'
import type { Http1Dependencies, Http1Options } from './session.ts'

export class Http1Transport {
  readonly #options: Http1Options
  readonly #deps: Http1Dependencies

  constructor(options: Http1Options, deps: Http1Dependencies) {
    this.#options = options
    this.#deps = deps
  }

  /** Takes the socket over. */
  accept(connection: TransportConnection): void {
    new Http1Session(connection, this.#options, this.#deps).listen()
  }
}
