/** An origin server, with the reverse proxy in front of it behind the real transports. */
import { once } from 'node:events'
import http from 'node:http'
import type { RequestListener } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http2'
import type { AddressInfo, Server, Socket } from 'node:net'
import { pino } from 'pino'
import type { Clock } from '../../src/clock.ts'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { OriginSockets } from '../../src/web/proxy/origin-sockets.ts'
import { OriginProxy } from '../../src/web/proxy/origin.ts'
import type { IsOwnName, OriginProxyOptions } from '../../src/web/proxy/origin.ts'
import { ReverseProxy } from '../../src/web/proxy/reverse.ts'
import { IdleMonitor } from '../../src/relay/idle-monitor.ts'
import { WebPages } from '../../src/web/nginx/web-pages.ts'
import { startWebHarness } from './web-harness.ts'
import type { WebHarness } from './web-harness.ts'
import { settled } from './settled.ts'
import { plainOf } from './exchange-kind.ts'
import { openPlaces } from './lane-share.ts'

export interface ProxyStage {
  readonly web: WebHarness
  readonly proxy: OriginProxy
  readonly counters: Counters
  /** What was logged. */
  readonly lines: readonly string[]
  /** Connections that are open at the origin. */
  readonly originSockets: ReadonlySet<Socket>
}

export type ResponseFields = IncomingHttpHeaders & { readonly ':status': number }

/** Run after each test, last one first, by `endStages`. */
export const cleanups: (() => Promise<void> | void)[] = []

export async function endStages(): Promise<void> {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
}

export async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const isStageName: IsOwnName = (name) => ['localhost', 'app.example', 'ws.example'].includes(name)

export async function openProxyStage(
  origin: RequestListener | Server | number,
  { isOwnName = isStageName, ...options }: Partial<OriginProxyOptions & { isOwnName: IsOwnName }> = {},
  clock: Clock = systemClock,
): Promise<ProxyStage> {
  const originSockets = new Set<Socket>()
  let port = origin
  if (typeof port !== 'number') {
    const server = typeof port === 'function' ? http.createServer(port) : port
    server.on('connection', (socket: Socket) => {
      originSockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => originSockets.delete(socket))
    })
    port = await listen(server)
    cleanups.push(async () => {
      server.close()
      for (const socket of originSockets) socket.destroy()
    })
  }
  const counters = new Counters()
  const lines: string[] = []
  const log = pino({ level: 'warn' }, { write: (line) => void lines.push(line) })
  const proxy = new OriginProxy(
    {
      origin: { protocol: 'http:', host: '127.0.0.1', port },
      connectTimeoutMs: 10_000,
      responseTimeoutMs: 60_000,
      idleTimeoutMs: 600_000,
      maxExchanges: 64,
      maxExchangesPerAddress: 64,
      ...options,
    },
    {
      clock,
      counters,
      log,
      pages: new WebPages(clock),
      places: openPlaces('proxyRequests'),
      idleMonitor: new IdleMonitor(clock),
      isOwnName,
      sockets: new OriginSockets({ counters: new Counters(), mayDial: () => true }),
    },
  )
  const reverse = new ReverseProxy({ h3BackwardCompatibility: false }, proxy)
  const web = await startWebHarness((request) => reverse.handle(plainOf(request)), 'reverse_proxy')
  cleanups.push(async () => {
    await web[Symbol.asyncDispose]()
    // Nothing may be left once every client is gone.
    await settled(() => proxy.exchanges === 0 && proxy.idleMonitor.size === 0)
    proxy.destroy()
  })
  return { web, proxy, counters, lines, originSockets }
}
