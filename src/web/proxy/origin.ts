/** Forwards requests to an origin server and returns its answers; the core of reverse proxy and decoy. */
import type { IncomingMessage } from 'node:http'
import type { Clock } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import type { Log } from '../../log.ts'
import type { PlainExchange, ResponseHeaders } from '../../contract/exchange.ts'
import { OriginPool } from './origin-pool.ts'
import { parseHostName } from '../../wire/host-name.ts'
import type { HttpOrigin } from '../../wire/target.ts'
import { Places } from '../places.ts'
import type { PlaceRecord } from '../places.ts'
import { forwardedResponseHeaders, publicLocation } from './headers.ts'
import type {
  ExchangeFailure,
  ExchangeLimits,
  ExchangeOutcome,
  OriginRequest,
  RequestOwner,
} from './origin-request.ts'
import { createOriginRequest } from './request-mode.ts'
import type { ForwardOptions } from './request-mode.ts'
import type { IdleMonitor } from '../../relay/idle-monitor.ts'
import type { OriginSockets } from './origin-sockets.ts'
import type { WebPages } from '../nginx/web-pages.ts'

export interface OriginProxyOptions extends ExchangeLimits {
  origin: HttpOrigin
  /** Exchanges in progress; any further one is answered 503. */
  maxExchanges: number
  /** The same for one address, or one /64 of IPv6. */
  maxExchangesPerAddress: number
}

/** Whether a host name is one of the endpoint's at this moment: hosts come and go with reloads. */
export type IsOwnName = (name: string) => boolean

interface OriginProxyDependencies {
  clock: Clock
  counters: Counters
  log: Log
  pages: WebPages
  idleMonitor: IdleMonitor
  sockets: OriginSockets
  places: PlaceRecord
  /** Only for these names does the origin get the client's `Host`; for all others it gets its own. */
  isOwnName: IsOwnName
}

/** Rate limit of warnings, because strangers decide how often an origin is asked. */
const WARNING_PERIOD_MS = 60_000

export class OriginProxy implements RequestOwner {
  readonly limits: ExchangeLimits
  readonly clock: Clock
  readonly source: OriginPool
  readonly idleMonitor: IdleMonitor
  readonly #places: Places
  readonly #deps: OriginProxyDependencies
  readonly #requests = new Set<OriginRequest>()
  readonly #nextWarningMs = new Map<ExchangeFailure, number>()

  constructor(options: OriginProxyOptions, deps: OriginProxyDependencies) {
    const { origin, maxExchanges, maxExchangesPerAddress, ...limits } = options
    this.limits = limits
    this.#places = new Places({ total: maxExchanges, perAddress: maxExchangesPerAddress }, deps.places)
    this.clock = deps.clock
    this.source = new OriginPool(origin, maxExchanges, deps.sockets)
    this.idleMonitor = deps.idleMonitor
    this.#deps = deps
  }

  get exchanges(): number {
    return this.#requests.size
  }

  forward(exchange: PlainExchange, options: ForwardOptions = {}): void {
    const place = this.#places.take(exchange.session.remoteAddress)
    if (typeof place === 'string') {
      const failure = place === 'total' ? 'too_many' : 'too_many_of_address'
      this.#deps.counters.count('proxy_failures', failure)
      this.#deps.pages.send(exchange, 503)
      return
    }
    const request = createOriginRequest(exchange, this, options)
    this.#requests.add(request)
    void request.run().then((outcome) => {
      this.#requests.delete(request)
      place()
      if (outcome.kind === 'failed') this.#onFailure(exchange, outcome)
    })
  }

  /** {@link RequestOwner}: strangers must not choose among the sites of a server. */
  hostFor({ authority }: PlainExchange): string {
    // Parsed, because a wildcard would take anything in front of its dot.
    const name = parseHostName(/^([^:]+)(?::\d{1,5})?$/.exec(authority)?.[1] ?? '')
    return name !== undefined && this.#deps.isOwnName(name) ? authority : this.source.authority
  }

  /** {@link RequestOwner} */
  responseHeaders(response: IncomingMessage, exchange: PlainExchange): ResponseHeaders {
    const headers = forwardedResponseHeaders(response.headers, this.#deps.pages.opening())
    const { location } = response.headers
    if (location === undefined) return headers
    const { address, authority } = this.source
    const origin = { protocol: address.protocol, authority, port: address.port }
    return { ...headers, location: publicLocation(location, this.hostFor(exchange), origin) }
  }

  #onFailure(
    exchange: PlainExchange,
    { failure, status, error }: ExchangeOutcome & { readonly kind: 'failed' },
  ): void {
    this.#deps.counters.count('proxy_failures', failure)
    if (error !== undefined) this.#tell(failure, error)
    if (status !== undefined) this.#deps.pages.send(exchange, status)
  }

  #tell(failure: ExchangeFailure, error: NodeJS.ErrnoException): void {
    const now = this.clock.now()
    if (now < (this.#nextWarningMs.get(failure) ?? -Infinity)) return
    this.#nextWarningMs.set(failure, now + WARNING_PERIOD_MS)
    const { authority } = this.source
    if (failure === 'internal') {
      const fields = { err: error, origin: authority }
      return this.#deps.log.error(fields, 'a request failed in a way that should not happen')
    }
    this.#deps.log.warn(
      { code: error.code, reason: error.message, origin: authority },
      failure === 'response_cut'
        ? 'a response of a web server behind the endpoint was cut'
        : 'a web server behind the endpoint fails',
    )
  }

  /** Ends everything that is under way. */
  destroy(): void {
    for (const request of this.#requests) request.destroy()
    this.source.destroy()
  }
}
