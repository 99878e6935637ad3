/** The reverse proxy over HTTP/1.1 and HTTP/2 against real origins: headers, framing, kept connections, failures. */
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { FakeClock } from '../support/fake-clock.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { endStages, listen, openProxyStage } from '../support/proxy-stage.ts'
import { startWebHarness } from '../support/web-harness.ts'
import type { WebHarness } from '../support/web-harness.ts'
import { plainOf } from '../support/exchange-kind.ts'
import { settled } from '../support/settled.ts'
import { askHttp1, askHttp2, field } from '../support/web-client.ts'

afterEach(endStages)

const VERSIONS = [
  ['HTTP/1.1', 'HTTP1', askHttp1, (web: WebHarness) => web.http1Port],
  ['HTTP/2', 'HTTP2', askHttp2, (web: WebHarness) => web.http2Port],
] as const

/** Has every field that is for one hop only. */
const ORIGIN_HEADERS = [
  ['Server', 'origin/1'],
  ['Set-Cookie', 'a=1'],
  ['Set-Cookie', 'b=2; Path=/'],
  ['X-A', '1'],
  ['X-Gone', 'x'],
  ['Keep-Alive', 'timeout=5'],
  ['Connection', 'keep-alive, x-gone'],
  ['Content-Length', '2'],
].flat()

describe.each(VERSIONS)('reverse proxy over %s', (_, label, ask, portOf) => {
  it('the reverse proxy sends the request on with its own host, the protocol and no field of the hop', async () => {
    let seen: IncomingMessage | undefined
    const { web } = await openProxyStage((request, response) => {
      seen = request
      response.end('ok')
    })
    await ask(portOf(web), {
      path: '/app/x?y=%20z',
      authority: 'app.example:8443',
      headers: {
        'proxy-authorization': 'Basic c2VjcmV0',
        'x-original-protocol': 'forged',
        te: 'trailers',
        accept: 'text/html',
        cookie: 'a=1; b=2',
      },
    })
    expect(seen?.url).toBe('/app/x?y=%20z')
    const { connection, ...headers } = seen?.headers ?? {}
    expect(connection).toBe('keep-alive')
    expect(headers).toEqual({
      host: 'app.example:8443',
      'x-original-protocol': label,
      accept: 'text/html',
      cookie: 'a=1; b=2',
    })
  })

  it('the reverse proxy hands the answer back without fields of the hop, cookies one by one', async () => {
    const { web } = await openProxyStage((_request, response) => {
      response.writeHead(201, ORIGIN_HEADERS)
      response.end('hi')
    })
    const answer = await ask(portOf(web), {})
    expect(answer.status).toBe(201)
    expect(answer.body.toString()).toBe('hi')
    expect(answer.headers.toSorted()).toEqual([
      ['content-length', '2'],
      ['server', 'nginx'],
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2; Path=/'],
      ['x-a', '1'],
    ])
  })

  it.each([
    ['HEAD', 200, '7'],
    ['GET', 204, undefined],
    ['GET', 304, undefined],
  ])('the reverse proxy gives no content to %s with %i', async (method, status, length) => {
    const { web } = await openProxyStage((_request, response) => {
      response.writeHead(status, length === undefined ? {} : { 'content-length': length })
      response.end()
    })
    const answer = await ask(portOf(web), { method })
    expect(answer.status).toBe(status)
    expect(answer.body.length).toBe(0)
    if (length !== undefined) expect(field(answer, 'content-length')).toBe(length)
  })

  it('the reverse proxy passes 1xx over and delivers the final answer, without trailers', async () => {
    const { web } = await openProxyStage((_request, response) => {
      response.writeContinue()
      response.writeEarlyHints({ link: '</a.css>; rel=preload' })
      response.writeHead(200, { trailer: 'x-sum' })
      response.write('body')
      response.addTrailers({ 'x-sum': '1' })
      response.end()
    })
    const answer = await ask(portOf(web), {})
    expect([answer.status, answer.body.toString()]).toEqual([200, 'body'])
    expect(field(answer, 'x-sum')).toBeUndefined()
  })

  it('the reverse proxy answers 502 when the origin refuses, hangs up or talks nonsense', async () => {
    const free = createServer()
    const port = await listen(free)
    free.close()
    const refused = await openProxyStage(port)
    const first = await ask(portOf(refused.web), {})
    expect(first.status).toBe(502)
    expect(first.body.toString()).toContain('<center><h1>502 Bad Gateway</h1></center>')
    expect(refused.counters.snapshot()).toEqual({ 'proxy_failures{connect}': 1 })

    const silent = await openProxyStage(createServer((socket) => socket.once('data', () => socket.destroy())))
    expect((await ask(portOf(silent.web), {})).status).toBe(502)
    const garbage = await openProxyStage(
      createServer((socket) => socket.once('data', () => socket.end('SMTP ready\r\n'))),
    )
    expect((await ask(portOf(garbage.web), {})).status).toBe(502)
    expect(garbage.counters.snapshot()).toEqual({ 'proxy_failures{origin}': 1 })
  })

  it('the reverse proxy tells the client when the origin breaks off in the middle', async () => {
    const { web, counters } = await openProxyStage(
      createServer((socket) =>
        socket.once('data', () => {
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf')
          setImmediate(() => socket.destroy())
        }),
      ),
    )
    await expect(ask(portOf(web), {})).rejects.toThrow()
    await settled(() => counters.snapshot()['proxy_failures{response_cut}'] === 1)
  })

  it('the reverse proxy gives up an origin that does not answer, with 504', async () => {
    const clock = new FakeClock()
    const arrived = Promise.withResolvers<void>()
    const { web } = await openProxyStage(() => arrived.resolve(), { responseTimeoutMs: 5000 }, clock)
    const answer = ask(portOf(web), {})
    await arrived.promise
    clock.advance(4000)
    clock.advance(4000)
    expect((await answer).status).toBe(504)
  })

  it('the reverse proxy answers 503 beyond its limit and serves again afterwards', async () => {
    const gate = Promise.withResolvers<void>()
    const { web, proxy } = await openProxyStage(
      (_request, response) => void gate.promise.then(() => response.end('late')),
      { maxExchanges: 1 },
    )
    const first = ask(portOf(web), {})
    await settled(() => proxy.exchanges === 1)
    expect((await ask(portOf(web), {})).status).toBe(503)
    gate.resolve()
    expect((await first).body.toString()).toBe('late')
    expect((await ask(portOf(web), {})).status).toBe(200)
  })

  it('the reverse proxy uses a kept connection again, and another when the origin has closed it', async () => {
    let connections = 0
    const server = http.createServer((_request, response) => response.end('ok'))
    server.on('connection', () => connections++)
    const { web, originSockets } = await openProxyStage(server)
    await ask(portOf(web), {})
    await ask(portOf(web), {})
    expect(connections).toBe(1)
    // Closed while our next request is under way: no matter which side notices first, it must be served.
    for (const socket of originSockets) socket.destroy()
    expect((await ask(portOf(web), {})).status).toBe(200)
    expect(connections).toBe(2)
  })

  it('the reverse proxy hides the port of the origin in redirects to itself', async () => {
    const { web } = await openProxyStage((request, response) => {
      const { localPort } = request.socket
      response.writeHead(301, { location: `http://app.example:${localPort}/docs/` }).end()
    })
    const answer = await ask(portOf(web), { path: '/docs', authority: 'app.example' })
    expect(field(answer, 'location')).toBe('/docs/')
  })

  it('the reverse proxy says once a minute that the origin cannot be reached, and why', async () => {
    const clock = new FakeClock()
    const closed = createServer()
    const port = await listen(closed)
    closed.close()
    await once(closed, 'close')
    const { web, lines } = await openProxyStage(port, {}, clock)
    for (let turn = 0; turn < 3; turn++) expect((await ask(portOf(web), {})).status).toBe(502)
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain('ECONNREFUSED')
    clock.advance(60_000)
    await ask(portOf(web), {})
    expect(lines).toHaveLength(2)
  })

  it('the reverse proxy carries a request without content and without length as such', async () => {
    const seen: unknown[] = []
    const { web } = await openProxyStage((request, response) => {
      seen.push([request.method, request.headers['content-length'], request.headers['transfer-encoding']])
      response.end()
    })
    for (const method of ['GET', 'DELETE', 'POST', 'PUT']) await ask(portOf(web), { method })
    expect(seen).toEqual([
      ['GET', undefined, undefined],
      ['DELETE', undefined, undefined],
      ['POST', '0', undefined],
      ['PUT', '0', undefined],
    ])
  })

  it('the reverse proxy frees the origin when the client goes away', async () => {
    const { web, originSockets, proxy } = await openProxyStage((_request, response) => {
      response.writeHead(200)
      const fill = (): void => {
        while (response.write(Buffer.alloc(65_536)));
        response.once('drain', fill)
      }
      fill()
    })
    const socket = connectTls({
      port: portOf(web),
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ALPNProtocols: [label === 'HTTP1' ? 'http/1.1' : 'h2'],
    })
    await once(socket, 'secureConnect')
    if (label === 'HTTP1') {
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      await once(socket, 'data')
      socket.destroy()
    } else {
      const session = http2.connect('https://localhost', { createConnection: () => socket })
      const stream = session.request({ ':path': '/' })
      stream.on('error', () => {})
      await once(stream, 'data')
      stream.close(http2.constants.NGHTTP2_CANCEL)
      await settled(() => proxy.exchanges === 0)
      session.destroy()
    }
    await settled(() => proxy.exchanges === 0 && originSockets.size === 0)
  })
})

/** Whatever went wrong before a request was sent looked like the client's fault: 400, and nothing in the log. */
describe('a request that cannot be sent to the origin', () => {
  const answerNothing = (): never => {
    throw new Error('the origin must not be asked')
  }

  it('a request that cannot be sent because of its head is answered 400 and is nothing to log', async () => {
    const { proxy, counters, lines } = await openProxyStage(answerNothing)
    await using web = await startWebHarness((request) =>
      proxy.forward(plainOf(request), { headers: { 'x-added': '\n' } }),
    )
    expect((await askHttp1(web.http1Port, {})).status).toBe(400)
    expect(counters.snapshot()).toEqual({ 'proxy_failures{bad_request}': 1 })
    expect(lines).toEqual([])
  })

  it('a request that cannot be sent because of a fault of ours is answered 500 and logged with the fault', async () => {
    const { web, counters, lines } = await openProxyStage(answerNothing, {
      isOwnName: () => {
        throw new Error('the host map is broken')
      },
    })
    expect((await askHttp1(web.http1Port, {})).status).toBe(500)
    expect(counters.snapshot()).toEqual({ 'proxy_failures{internal}': 1 })
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { level: 50, err: { message: 'the host map is broken', stack: expect.stringContaining('    at ') } },
    ])
  })

  // Whatever is thrown in an event of a socket ends the process unless it is caught there.
  it('a request that cannot be sent once more, after its kept connection was closed, is answered 500', async () => {
    let broken = false
    let requests = 0
    const { web, counters } = await openProxyStage(
      (request, response) => {
        if (++requests === 1) return void response.end('ok')
        broken = true
        request.socket.destroy()
      },
      {
        isOwnName: () => {
          if (broken) throw new Error('the host map is broken')
          return true
        },
      },
    )
    expect((await askHttp1(web.http1Port, {})).status).toBe(200)
    expect((await askHttp1(web.http1Port, {})).status).toBe(500)
    expect(requests).toBe(2)
    expect(counters.snapshot()).toEqual({ 'proxy_failures{internal}': 1 })
  })

  it('a response that cannot be handed on because of a fault of ours is answered 500', async () => {
    let broken = false
    const { web, counters } = await openProxyStage(
      (_request, response) => {
        broken = true
        response.writeHead(302, { location: '/elsewhere' }).end()
      },
      {
        isOwnName: () => {
          if (broken) throw new Error('the host map is broken')
          return true
        },
      },
    )
    expect((await askHttp1(web.http1Port, {})).status).toBe(500)
    expect(counters.snapshot()).toEqual({ 'proxy_failures{internal}': 1 })
  })
})

expectNothingLeftOpen()
