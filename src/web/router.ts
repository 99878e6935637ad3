/**
 * Who answers a request that is not a tunnel: ping, speed test, reverse proxy or the decoy (`docs/protocol.md`, "Pages
 * of the endpoint").
 */
import { serverNameIn } from '../wire/host-name.ts'
import type { Counters } from '../counters.ts'
import type { ForwardEnd } from '../contract/forwarder.ts'
import type { Exchange, PlainExchange } from '../contract/exchange.ts'
import type { Channel } from '../contract/session.ts'
import type { Target } from '../wire/target.ts'
import type { Decoy } from './nginx/decoy-site.ts'
import type { ForwardProxy } from './proxy/forward.ts'
import { PathMask } from './proxy/path-mask.ts'
import { answerPing } from './ping.ts'
import type { ReverseProxy } from './proxy/reverse.ts'
import type { Speedtest } from './speedtest.ts'
import type { WebPages } from './nginx/web-pages.ts'

export interface RouterOptions {
  /** Prefix on main hosts; absent when `ping_enable` is false. Ping hosts work in any case. */
  pingPath?: string
  speedtestPath?: string
  /** `path_mask`. */
  reverseProxyPath?: string
  /** `non_connect_auth_failure_status_code`: when the file sets it, the answer on main hosts instead of the decoy's. */
  strangerStatus?: number
}

interface RouterDependencies {
  counters: Counters
  pages: WebPages
  decoy: Decoy
  speedtest: Speedtest
  /** Absent without `[reverse_proxy]`. */
  reverseProxy?: ReverseProxy
  forwardProxy: ForwardProxy
}

/** Our pages that are chosen by path. */
type OwnPage = 'ping' | 'speedtest' | 'reverse_proxy'

export class Router {
  readonly #options: RouterOptions
  readonly #deps: RouterDependencies
  readonly #reverseProxyMask: PathMask | undefined

  constructor(options: RouterOptions, deps: RouterDependencies) {
    this.#options = options
    this.#deps = deps
    const { reverseProxyPath } = options
    if (deps.reverseProxy && reverseProxyPath !== undefined)
      this.#reverseProxyMask = new PathMask(reverseProxyPath)
  }

  /** Answers any request except an authenticated CONNECT. Never throws. */
  handle(exchange: Exchange): void {
    switch (exchange.channel) {
      case 'ping':
        return this.#ping(exchange)
      case 'speedtest':
        return this.#speedtest(exchange, pathOf(exchange) ?? '')
      case 'reverse_proxy':
        return this.#reverseProxy(exchange)
      case 'decoy':
        return this.#decoy(exchange)
      case 'main':
        return this.#onMainHost(exchange)
    }
  }

  /**
   * Whether a request for `path` on `channel` may leave HTTP for `protocol`. Only the reverse proxy knows what to do
   * with it, and only WebSockets stay within what was asked for: `h2c` would open up the whole origin.
   */
  mayUpgrade(channel: Channel, path: string, protocol: string): boolean {
    if (this.#deps.reverseProxy === undefined || protocol.toLowerCase() !== 'websocket') return false
    return channel === 'main' ? this.#isProxied(path) : channel === 'reverse_proxy'
  }

  /**
   * For a CONNECT or another request that must look refused with `status` (401 to 405): sends the page that a web
   * server has for it. Not for 407, which the dispatcher answers.
   */
  handleDecoyStatus(exchange: Exchange, status: number): void {
    this.#deps.counters.count('web_requests', 'refused')
    this.#deps.pages.send(exchange, status)
  }

  /**
   * Whether a client's plain request for an `http:` address is meant for another server rather than for one of our
   * pages.
   */
  mayForward(exchange: PlainExchange): boolean {
    // Refused by our site, as by all of them.
    if (exchange.method === 'TRACE') return false
    const ownName = serverNameIn(exchange.authority) === exchange.session.serverName
    return !ownName || this.#pageOf(exchange.path) === undefined
  }

  /** Forwards it. Never rejects; with `failure`, the request still waits for an answer. */
  forward(exchange: PlainExchange, target: Target): Promise<ForwardEnd> {
    return this.#deps.forwardProxy.forward(exchange, target)
  }

  /** Plain text prefixes, in the reference endpoint's order: `/pingfoo` is a ping. */
  #pageOf(path: string | undefined): OwnPage | undefined {
    const { pingPath, speedtestPath } = this.#options
    if (path === undefined) return undefined
    if (pingPath !== undefined && path.startsWith(pingPath)) return 'ping'
    if (speedtestPath !== undefined && path.startsWith(speedtestPath)) return 'speedtest'
    return this.#isProxied(path) ? 'reverse_proxy' : undefined
  }

  #isProxied(path: string): boolean {
    return this.#reverseProxyMask?.covers(path) === true
  }

  #onMainHost(exchange: Exchange): void {
    const { speedtestPath = '', strangerStatus } = this.#options
    const path = pathOf(exchange)
    switch (this.#pageOf(path)) {
      case 'ping':
        return this.#ping(exchange)
      case 'speedtest':
        return this.#speedtest(exchange, path?.slice(speedtestPath.length) ?? '')
      case 'reverse_proxy':
        return this.#reverseProxy(exchange)
    }
    if (strangerStatus === undefined || exchange.kind === 'connect') return this.#decoy(exchange)
    this.handleDecoyStatus(exchange, strangerStatus)
  }

  #ping(exchange: Exchange): void {
    this.#deps.counters.count('web_requests', 'ping')
    answerPing(exchange, this.#deps.pages)
  }

  #speedtest(exchange: Exchange, path: string): void {
    this.#deps.counters.count('web_requests', 'speedtest')
    this.#deps.speedtest.handle(exchange, path)
  }

  #reverseProxy(exchange: Exchange): void {
    const { reverseProxy } = this.#deps
    if (reverseProxy === undefined || exchange.kind === 'connect') return this.#decoy(exchange)
    this.#deps.counters.count('web_requests', 'reverse_proxy')
    reverseProxy.handle(exchange)
  }

  #decoy(exchange: Exchange): void {
    this.#deps.counters.count('web_requests', 'decoy')
    this.#deps.decoy.handle(exchange)
  }
}

function pathOf(exchange: Exchange): string | undefined {
  return exchange.kind === 'plain' ? exchange.path : undefined
}
