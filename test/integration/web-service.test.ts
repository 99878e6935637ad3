/** Ping, speed test and the choice between them by host and path, over HTTP/1.1 and HTTP/2. */
import { once } from 'node:events'
import http2 from 'node:http2'
import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Clock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { ForwardProxy } from '../../src/web/proxy/forward.ts'
import { answerPing } from '../../src/web/ping.ts'
import { Router } from '../../src/web/router.ts'
import type { RouterOptions } from '../../src/web/router.ts'
import type { OriginProxy } from '../../src/web/proxy/origin.ts'
import { ReverseProxy } from '../../src/web/proxy/reverse.ts'
import { Speedtest } from '../../src/web/speedtest.ts'
import { IdleMonitor } from '../../src/relay/idle-monitor.ts'
import { WebPages } from '../../src/web/nginx/web-pages.ts'
import type { Exchange } from '../../src/contract/exchange.ts'
import type { Channel } from '../../src/contract/session.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { openPlaces } from '../support/lane-share.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { settled } from '../support/settled.ts'
import { startWebHarness } from '../support/web-harness.ts'
import type { WebHarness } from '../support/web-harness.ts'
import { askHttp1, askHttp2, field } from '../support/web-client.ts'

const MIB = 1_048_576

interface Stage {
  readonly web: WebHarness
  readonly counters: Counters
  readonly speedtest: Speedtest
  readonly watch: IdleMonitor
}

const stages: Stage[] = []

afterEach(async () => {
  for (const { web, speedtest, watch } of stages.splice(0)) {
    await web[Symbol.asyncDispose]()
    await settled(() => speedtest.running === 0 && watch.size === 0)
  }
})

/** None of these requests is forwarded. */
const forwardProxy = new ForwardProxy(
  { idleTimeoutMs: 1000, privacy: 'full' },
  {
    clock: systemClock,
    log: pino({ level: 'silent' }),
    dialer: { dial: () => Promise.reject(new Error('none')) },
    idleMonitor: new IdleMonitor(systemClock),
  },
)

/** Stands in for a part of the service that another test covers, and says that it was chosen. */
function marker(status: number): { handle(request: Exchange): void } {
  return { handle: (request) => request.refuse(status) }
}

async function stage(
  channel: Channel,
  options: RouterOptions = {},
  { clock = systemClock, maxConcurrent = 4 }: { clock?: Clock; maxConcurrent?: number } = {},
): Promise<Stage> {
  const counters = new Counters()
  const pages = new WebPages(clock)
  const watch = new IdleMonitor(clock)
  const speedtest = new Speedtest(
    { maxConcurrent, maxPerAddress: maxConcurrent, stallTimeoutMs: 30_000 },
    { counters, pages, idleMonitor: watch, places: openPlaces('speedTests') },
  )
  const proxied = { forward: (request: Exchange) => request.refuse(299) } as OriginProxy
  const reverseProxy = new ReverseProxy({ h3BackwardCompatibility: false }, proxied)
  const service = new Router(options, {
    counters,
    pages,
    speedtest,
    reverseProxy,
    decoy: marker(298),
    forwardProxy,
  })
  const web = await startWebHarness((request) => service.handle(request), channel)
  const result = { web, counters, speedtest, watch }
  stages.push(result)
  return result
}

const VERSIONS = [
  ['HTTP/1.1', askHttp1, (web: WebHarness) => web.http1Port],
  ['HTTP/2', askHttp2, (web: WebHarness) => web.http2Port],
] as const

const PATHS = { pingPath: '/ping', speedtestPath: '/speed', reverseProxyPath: '/app' }
const [PING, SPEEDTEST, PROXY, DECOY] = [200, 400, 299, 298]

describe.each(VERSIONS)('web service over %s', (_, ask, portOf) => {
  it.each([
    [PATHS, '/ping', PING],
    [PATHS, '/pingfoo', PING],
    [PATHS, '/speed', SPEEDTEST],
    [PATHS, '/speedy/x', SPEEDTEST],
    [PATHS, '/app', PROXY],
    [PATHS, '/apple', PROXY],
    [PATHS, '/', DECOY],
    [PATHS, '/x/ping', DECOY],
    [{}, '/ping', DECOY],
    [{}, '/speed/1mb.bin', DECOY],
    [{ ...PATHS, strangerStatus: 404 }, '/', 404],
    [{ ...PATHS, strangerStatus: 404 }, '/ping', PING],
    // The earlier one of overlapping prefixes.
    [{ pingPath: '/a', speedtestPath: '/a', reverseProxyPath: '/a' }, '/a', PING],
    [{ speedtestPath: '/a', reverseProxyPath: '/' }, '/a', SPEEDTEST],
  ])('the web service with %o sends %s to the right one', async (options, path, status) => {
    const { web } = await stage('main', options)
    expect((await ask(portOf(web), { path })).status).toBe(status)
  })

  it.each([
    ['ping', '/anything', PING],
    ['speedtest', '/nothing', SPEEDTEST],
    ['reverse_proxy', '/ping', PROXY],
    ['decoy', '/ping', DECOY],
  ] as const)('the web service on a %s host ignores the paths', async (channel, path, status) => {
    const { web, counters } = await stage(channel, PATHS)
    expect((await ask(portOf(web), { path })).status).toBe(status)
    expect(counters.snapshot()).toEqual({ [`web_requests{${channel}}`]: 1 })
  })

  it.each(['GET', 'HEAD', 'POST', 'OPTIONS', 'DELETE'])(
    'the web service answers a ping by %s and ends the session',
    async (method) => {
      const { web } = await stage('ping')
      const answer = await ask(portOf(web), { method })
      expect([answer.status, answer.body.length]).toEqual([200, 0])
      await settled(() => web.sessions.size === 0)
    },
  )

  it.each([1, 3, 17])('the web service sends %i MiB of zeros', async (size) => {
    const { web } = await stage('main', { speedtestPath: '/speed' })
    const answer = await ask(portOf(web), { path: `/speed/${size}mb.bin` })
    expect(answer.status).toBe(200)
    expect(answer.body.equals(Buffer.alloc(size * MIB))).toBe(true)
    expect(field(answer, 'content-type')).toBe('application/octet-stream')
    expect(field(answer, 'access-control-allow-origin')).toBe('*')
    expect(field(answer, 'content-length')).toBeUndefined()
  })

  it('the web service takes an upload', async () => {
    const { web } = await stage('speedtest')
    const answer = await ask(portOf(web), {
      method: 'POST',
      path: '/upload.html',
      body: Buffer.alloc(5 * MIB),
    })
    expect([answer.status, answer.body.length]).toEqual([200, 0])
  })

  it.each([
    ['GET', '/0mb.bin'],
    ['GET', '/101mb.bin'],
    ['GET', '/-1mb.bin'],
    ['GET', '/1.5mb.bin'],
    ['GET', '/1mb.bin/x'],
    ['GET', '/x/1mb.bin'],
    ['GET', '/mb.bin'],
    ['HEAD', '/1mb.bin'],
    ['PUT', '/1mb.bin'],
    ['GET', '/upload.html'],
    ['POST', '/upload.html'],
    ['POST', '/1mb.bin'],
  ])('the web service refuses %s %s', async (method, path) => {
    const { web } = await stage('speedtest')
    const answer = await ask(portOf(web), { method, path })
    expect([answer.status, answer.body.length]).toEqual([400, 0])
  })
})

function openSession(web: WebHarness): http2.ClientHttp2Session {
  return http2.connect(`https://localhost:${web.http2Port}`, { host: '127.0.0.1', rejectUnauthorized: false })
}

describe('speed test', () => {
  it('the speed test refuses an upload above the limit', async () => {
    const { web } = await stage('speedtest')
    const session = openSession(web)
    const stream = session.request(
      { ':method': 'POST', ':path': '/upload.html', 'content-length': String(125_829_121) },
      { endStream: false },
    )
    stream.on('error', () => {})
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders & { ':status': number }]
    expect(headers[':status']).toBe(400)
    session.destroy()
  })

  it('the speed test neither allocates nor queues for a client that does not read', async () => {
    const { web, speedtest } = await stage('speedtest')
    const startRss = process.memoryUsage.rss()
    const session = openSession(web)
    const streams = Array.from({ length: 4 }, () => session.request({ ':path': '/100mb.bin' }))
    for (const stream of streams) stream.on('error', () => {})
    await Promise.all(streams.map((stream) => once(stream, 'response')))
    expect(speedtest.running).toBe(4)
    expect(process.memoryUsage.rss() - startRss).toBeLessThan(64 * MIB)
    session.destroy()
    await settled(() => speedtest.running === 0)
  })

  it('the speed test runs no more at one time than allowed', async () => {
    const { web, speedtest, counters } = await stage('speedtest', {}, { maxConcurrent: 1 })
    const session = openSession(web)
    const stream = session.request({ ':path': '/100mb.bin' })
    stream.on('error', () => {})
    await once(stream, 'response')
    expect((await askHttp2(web.http2Port, { path: '/1mb.bin' })).status).toBe(503)
    expect(counters.snapshot()['speedtest_refusals{total}']).toBe(1)
    stream.close(http2.constants.NGHTTP2_CANCEL)
    await settled(() => speedtest.running === 0)
    expect((await askHttp2(web.http2Port, { path: '/1mb.bin' })).status).toBe(200)
    session.destroy()
  })

  it('the speed test gives up an upload that stands still', async () => {
    const clock = new FakeClock()
    const { web, speedtest } = await stage('speedtest', {}, { clock })
    const session = openSession(web)
    const stream = session.request(
      { ':method': 'POST', ':path': '/upload.html', 'content-length': '1000' },
      { endStream: false },
    )
    const closed = new Promise((resolve) => stream.once('close', resolve))
    stream.on('error', () => {})
    stream.write(Buffer.alloc(10))
    await settled(() => speedtest.running === 1)
    clock.advance(31_000)
    clock.advance(31_000)
    await closed
    await settled(() => speedtest.running === 0)
    session.destroy()
  })
})

describe('CONNECT', () => {
  it('a refused CONNECT looks as if a web server had refused it when it must not be a 407', async () => {
    const counters = new Counters()
    const pages = new WebPages(systemClock)
    const watch = new IdleMonitor(systemClock)
    const speedtest = new Speedtest(
      { maxConcurrent: 1, maxPerAddress: 1, stallTimeoutMs: 1000 },
      { counters, pages, idleMonitor: watch, places: openPlaces('speedTests') },
    )
    const service = new Router({}, { counters, pages, speedtest, decoy: marker(298), forwardProxy })
    const web = await startWebHarness((request) => service.handleDecoyStatus(request, 405))
    stages.push({ web, counters, speedtest, watch })
    const session = openSession(web)
    const stream = session.request({ ':method': 'CONNECT', ':authority': 'a.example:443' })
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders & { ':status': number }]
    expect(headers[':status']).toBe(405)
    expect(headers.server).toBe('nginx')
    session.destroy()
  })

  it('a CONNECT to the ping host is answered as a ping too', async () => {
    const web = await startWebHarness((request) => answerPing(request, new WebPages(systemClock)), 'ping')
    const session = openSession(web)
    const stream = session.request({ ':method': 'CONNECT', ':authority': '_check' })
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders & { ':status': number }]
    expect(headers[':status']).toBe(200)
    await settled(() => web.sessions.size === 0)
    await web[Symbol.asyncDispose]()
  })
})

expectNothingLeftOpen()
