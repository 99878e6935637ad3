/** Puts the parts of the web site together: pages, decoy, speed test, reverse proxy. */
import type { Clock } from '../clock.ts'
import type { HttpOrigin } from '../wire/target.ts'
import type { Counters } from '../counters.ts'
import type { Log, Privacy } from '../log.ts'
import type { IdleMonitor } from '../relay/idle-monitor.ts'
import { DecoySite } from './nginx/decoy-site.ts'
import type { Decoy } from './nginx/decoy-site.ts'
import { DefaultSite } from './nginx/default-site.ts'
import { ForwardProxy } from './proxy/forward.ts'
import type { ForwardDialer } from './proxy/forward.ts'
import { OriginProxy } from './proxy/origin.ts'
import type { IsOwnName } from './proxy/origin.ts'
import { OriginSockets } from './proxy/origin-sockets.ts'
import { DecoyOrigin, ReverseProxy } from './proxy/reverse.ts'
import type { PlaceRecord } from './places.ts'
import { Router } from './router.ts'
import type { RouterOptions } from './router.ts'
import { SiteDirectory } from './nginx/site-directory.ts'
import { Speedtest } from './speedtest.ts'
import { WebPages } from './nginx/web-pages.ts'

export interface WebSiteOptions extends RouterOptions {
  /** What strangers see: a directory, a server, or the default page when both are undefined. */
  readonly decoyRoot: string | undefined
  readonly decoyOrigin: HttpOrigin | undefined
  readonly index: string
  /** Appears in redirects unless it is 443. */
  readonly port: number
  /** Present with `[reverse_proxy]`. */
  readonly proxied: { readonly origin: HttpOrigin; readonly h3BackwardCompatibility: boolean } | undefined
  readonly connectTimeoutMs: number
  readonly speedtestStallMs: number
  /** Idle limit of plain requests that clients send to other servers. */
  readonly forwardIdleMs: number
  /** Lanes that share what the site may hold in memory and have open. */
  readonly lanes: number
  /** What the log may say about clients' requests to other servers. */
  readonly privacy: Privacy
}

/** What a visitor may have under way. */
export type WebPlace = 'speedTests' | 'decoyRequests' | 'proxyRequests'

interface OriginDescriptors {
  /** Whether one more may go to an origin. */
  readonly mayDial: () => boolean
  /** `limit`, or `share` of the descriptors if that is less. */
  lower(limit: number, share: number): number
}

interface WebSiteDependencies {
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Log
  readonly dialer: ForwardDialer
  readonly idleMonitor: IdleMonitor
  readonly isOwnName: IsOwnName
  readonly descriptors: OriginDescriptors
  readonly placesOf: (what: WebPlace) => PlaceRecord
}

/** nginx's `send_timeout` and `proxy_read_timeout`. */
const WEB_TIMEOUT_MS = 60_000
const PROXY_IDLE_MS = 300_000
const MAX_EXCHANGES = 1024
const MAX_OPEN_FILES = 256
/** Of answers of the decoy site that their clients have not taken. */
const MAX_CONTENT_BYTES = 32 * 1_048_576
const MAX_SPEEDTESTS = 16
/** One client's largest share of each, so that others are still served. */
const SHARE_OF_AN_ADDRESS = 1 / 4
const HTTPS_PORT = 443

interface WebSite {
  readonly router: Router
  /** Closes the connections to origins. */
  destroy(): void
}

export function createWebSite(options: WebSiteOptions, deps: WebSiteDependencies): WebSite {
  const { clock, counters, log, dialer, idleMonitor, isOwnName, descriptors, placesOf } = deps
  const pages = new WebPages(clock)
  const proxies: OriginProxy[] = []
  const sockets = new OriginSockets({ counters, mayDial: descriptors.mayDial })
  const openProxy = (origin: HttpOrigin, what: WebPlace): OriginProxy => {
    const limits = {
      connectTimeoutMs: options.connectTimeoutMs,
      responseTimeoutMs: WEB_TIMEOUT_MS,
      idleTimeoutMs: PROXY_IDLE_MS,
      maxExchanges: MAX_EXCHANGES,
      maxExchangesPerAddress: descriptors.lower(MAX_EXCHANGES * SHARE_OF_AN_ADDRESS, SHARE_OF_AN_ADDRESS),
    }
    const proxy = new OriginProxy(
      { origin, ...limits },
      { clock, counters, log, pages, idleMonitor, isOwnName, sockets, places: placesOf(what) },
    )
    proxies.push(proxy)
    return proxy
  }
  const openDirectory = (root: string): SiteDirectory => {
    const directory = new SiteDirectory({ root, maxOpenFiles: Math.ceil(MAX_OPEN_FILES / options.lanes) })
    counters.gauge('decoy_open_files', () => directory.openFiles)
    return directory
  }
  const openDecoy = (): Decoy => {
    if (options.decoyOrigin) return new DecoyOrigin(openProxy(options.decoyOrigin, 'decoyRequests'), pages)
    const files = options.decoyRoot
      ? openDirectory(options.decoyRoot)
      : new DefaultSite(undefined, options.index)
    const { index, port } = options
    const redirect = port === HTTPS_PORT ? {} : { redirectPort: port }
    return new DecoySite(
      {
        index,
        ...redirect,
        sendTimeoutMs: WEB_TIMEOUT_MS,
        maxContentBytes: Math.ceil(MAX_CONTENT_BYTES / options.lanes),
      },
      { clock, counters, pages, idleMonitor, files },
    )
  }
  const stallTimeoutMs = options.speedtestStallMs
  const speedtest = new Speedtest(
    { maxConcurrent: MAX_SPEEDTESTS, maxPerAddress: MAX_SPEEDTESTS * SHARE_OF_AN_ADDRESS, stallTimeoutMs },
    { counters, pages, idleMonitor, places: placesOf('speedTests') },
  )
  const { proxied } = options
  const reverseProxy = proxied && new ReverseProxy(proxied, openProxy(proxied.origin, 'proxyRequests'))
  const router = new Router(options, {
    counters,
    pages,
    decoy: openDecoy(),
    speedtest,
    forwardProxy: new ForwardProxy(
      { idleTimeoutMs: options.forwardIdleMs, privacy: options.privacy },
      { clock, log, dialer, idleMonitor },
    ),
    ...(reverseProxy && { reverseProxy }),
  })
  return {
    router,
    destroy: () => {
      for (const proxy of proxies) proxy.destroy()
    },
  }
}
