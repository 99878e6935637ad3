/** Who answers a request that is not a tunnel: ping, speed test, reverse proxy or the decoy (reference 1.11). */
import type { Counters } from '../counters.ts'
import type { Channel, TunnelRequest } from '../tunnel/session.ts'
import type { Decoy } from './decoy-site.ts'
import { answerPing } from './ping.ts'
import type { ReverseProxy } from './reverse-proxy.ts'
import type { Speedtest } from './speedtest.ts'
import type { WebPages } from './web-pages.ts'

export interface WebServiceOptions {
  /** Prefix on main hosts; absent when `ping_enable` is false. Hosts of their own work in any case. */
  pingPath?: string
  speedtestPath?: string
  /** `path_mask`. */
  reverseProxyPath?: string
  /** `non_connect_auth_failure_status_code`: the answer on main hosts in place of the decoy's, when the file sets it. */
  strangerStatus?: number
}

export interface WebServiceDependencies {
  counters: Counters
  pages: WebPages
  decoy: Decoy
  speedtest: Speedtest
  /** Absent without `[reverse_proxy]`. */
  reverseProxy?: ReverseProxy
}

export class WebService {
  readonly #options: WebServiceOptions
  readonly #deps: WebServiceDependencies

  constructor(options: WebServiceOptions, deps: WebServiceDependencies) {
    this.#options = options
    this.#deps = deps
  }

  /** Answers any request but an authenticated CONNECT. Never throws. */
  handle(request: TunnelRequest): void {
    switch (request.session.channel) {
      case 'ping':
        return this.#ping(request)
      case 'speedtest':
        return this.#speedtest(request, request.path ?? '')
      case 'reverse_proxy':
        return this.#reverseProxy(request)
      case 'decoy':
        return this.#decoy(request)
      case 'main':
        return this.#onMainHost(request)
    }
  }

  /** Whether a request for `path` on `channel` may leave HTTP: only the reverse proxy knows what to do with it. */
  mayUpgrade(channel: Channel, path: string): boolean {
    if (this.#deps.reverseProxy === undefined) return false
    const { reverseProxyPath } = this.#options
    if (channel === 'main') return reverseProxyPath !== undefined && path.startsWith(reverseProxyPath)
    return channel === 'reverse_proxy'
  }

  /**
   * A CONNECT or another request that must look refused with `status` (401 to 405): the page that a web server has
   * for it. Not for 407, whose answer is the tunnel's.
   */
  handleDecoyStatus(request: TunnelRequest, status: number): void {
    this.#deps.counters.count('web_requests', 'refused')
    this.#deps.pages.send(request, status)
  }

  /** Prefixes of plain text, in the reference's order: `/pingfoo` is a ping. */
  #onMainHost(request: TunnelRequest): void {
    const { pingPath, speedtestPath, reverseProxyPath, strangerStatus } = this.#options
    const { path } = request
    if (path !== undefined) {
      if (pingPath !== undefined && path.startsWith(pingPath)) return this.#ping(request)
      if (speedtestPath !== undefined && path.startsWith(speedtestPath))
        return this.#speedtest(request, path.slice(speedtestPath.length))
      if (reverseProxyPath !== undefined && this.#deps.reverseProxy && path.startsWith(reverseProxyPath))
        return this.#reverseProxy(request)
    }
    if (strangerStatus === undefined || request.method === 'CONNECT') return this.#decoy(request)
    this.handleDecoyStatus(request, strangerStatus)
  }

  #ping(request: TunnelRequest): void {
    this.#deps.counters.count('web_requests', 'ping')
    answerPing(request, this.#deps.pages)
  }

  #speedtest(request: TunnelRequest, path: string): void {
    this.#deps.counters.count('web_requests', 'speedtest')
    this.#deps.speedtest.handle(request, path)
  }

  #reverseProxy(request: TunnelRequest): void {
    const { reverseProxy } = this.#deps
    if (reverseProxy === undefined || request.method === 'CONNECT') return this.#decoy(request)
    this.#deps.counters.count('web_requests', 'reverse_proxy')
    reverseProxy.handle(request)
  }

  #decoy(request: TunnelRequest): void {
    this.#deps.counters.count('web_requests', 'decoy')
    this.#deps.decoy.handle(request)
  }
}
