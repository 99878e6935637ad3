/**
 * Plain requests for http: addresses, as browsers and curl send them to a proxy: forwarded for clients, a page of the
 * web site for everyone else, refused like tunnels. Over each HTTP version, through the whole endpoint.
 */
import { once } from 'node:events'
import http from 'node:http'
import type { IncomingMessage, RequestListener } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { AUTHORIZED, FORWARD_CLIENTS } from '../support/forward-client.ts'
import type { ForwardClient, ForwardExchange, ForwardQuery } from '../support/forward-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hashOf, hashOfPattern, sendPattern } from '../support/patterned-bytes.ts'
import { readAll, readBytes } from '../support/reading.ts'
import { settled } from '../support/settled.ts'
import { findClosedPort } from '../support/closed-port.ts'
import { openTcpTarget } from '../support/targets.ts'

const DOWNLOAD_BYTES = 50_000_000
const PROTOCOLS = ['http1', 'http2', 'quic'] as const
const REFUSED = { 'x-warning': '300 - Connection failed for some reason' }
const WRONG = { 'proxy-authorization': encodeBasicAuth(USER.username, 'wrong') }

interface Origin extends AsyncDisposable {
  readonly authority: string
  readonly requests: IncomingMessage[]
  readonly sockets: ReadonlySet<Socket>
}

async function openOrigin(answer: RequestListener): Promise<Origin> {
  const requests: IncomingMessage[] = []
  const sockets = new Set<Socket>()
  const server = http.createServer((request, response) => {
    requests.push(request)
    answer(request, response)
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    authority: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    sockets,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const hello: RequestListener = (_, response) => void response.end('hello')

function authorized(query: ForwardQuery): ForwardQuery {
  return { ...query, headers: { ...AUTHORIZED, ...query.headers } }
}

async function whole({
  answer,
}: ForwardExchange): Promise<{ status: number; headers: object; body: string }> {
  const { status, headers, body } = await answer
  return { status, headers, body: (await readAll(body)).toString() }
}

/** A refusal without the fields that HTTP/1.1 needs to end it. */
async function refusal(
  exchange: ForwardExchange,
): Promise<{ status: number; headers: object; body: string }> {
  const { headers, ...rest } = await whole(exchange)
  const fields = Object.entries(headers).filter(([name]) => name !== 'date' && name !== 'content-length')
  return { ...rest, headers: Object.fromEntries(fields) as object }
}

describe.each(FORWARD_CLIENTS)('plain requests over %s', (protocol, openClient) => {
  let endpoint: TestEndpoint
  beforeAll(async () => {
    endpoint = await startEndpoint({
      protocols: PROTOCOLS,
      keys: 'ping_enable = true\nping_path = "/ping"',
      rules: '[outbound]\n[[outbound.rule]]\ndestination_port = "25"\naction = "deny"\n',
    })
  })
  afterAll(async () => {
    await endpoint.waitUntilFree()
    await endpoint[Symbol.asyncDispose]()
  })

  async function withClient(work: (client: ForwardClient) => Promise<void>): Promise<void> {
    await using client = await openClient(endpoint.port)
    await work(client)
  }

  it('plain requests reach the server as it would have got them, and its answer comes back as it is', async () => {
    await using origin = await openOrigin((_, response) => {
      response.writeHead(201, {
        server: 'an-origin',
        date: 'Thu, 01 Jan 1970 00:00:00 GMT',
        'content-type': 'text/x-test',
        'content-length': 5,
        'set-cookie': ['a=1', 'b=2'],
        'x-hop': 'x',
        connection: 'x-hop',
        'keep-alive': 'timeout=5',
        'proxy-status': 'x',
        'proxy-connection': 'close',
      })
      response.end('hello')
    })
    await withClient(async (client) => {
      const headers = { 'x-test': 'kept', 'proxy-test': 'dropped', cookie: 'c=3' }
      const { authority } = origin
      const answer = await whole(client.send(authorized({ authority, path: '/a?b=c', headers })))
      expect(answer).toEqual({
        status: 201,
        headers: {
          server: 'an-origin',
          date: 'Thu, 01 Jan 1970 00:00:00 GMT',
          'content-type': 'text/x-test',
          'content-length': '5',
          'set-cookie': ['a=1', 'b=2'],
        },
        body: 'hello',
      })
      const [request] = origin.requests
      expect(request).toMatchObject({ method: 'GET', url: '/a?b=c', httpVersion: '1.1' })
      expect(request?.headers).toEqual({
        host: authority,
        'x-test': 'kept',
        cookie: 'c=3',
        connection: 'close',
      })
    })
  })

  it('plain requests without credentials get the web site, with wrong ones the same, and the server hears nothing', async () => {
    await using origin = await openOrigin(hello)
    await withClient(async (client) => {
      const { authority } = origin
      const answers = []
      for (const headers of [{}, WRONG, { 'proxy-authorization': 'Bearer x' }]) {
        const { date, ...fields } = await (async () => {
          const { status, headers: received, body } = await whole(client.send({ authority, headers }))
          return { status, body, ...(received as { date?: string; server: string }) }
        })()
        expect(date).toBeDefined()
        expect(fields).toMatchObject({ status: 200, server: 'nginx' })
        answers.push(JSON.stringify(fields))
      }
      expect([...new Set(answers)]).toHaveLength(1)
    })
    expect(origin.requests).toEqual([])
    // Only the log tells them apart, and credentials that were not sent are no refusal.
    await endpoint.waitForStats((stats) => stats['refused_requests{auth_required}'] === 2)
    const refused = endpoint.logs.filter(({ code }) => code === 'auth_required')
    expect(refused.map(({ reason }) => reason)).toEqual(['wrong', 'wrong'])
  })

  it('plain requests to a closed port and a forbidden one are refused as tunnels are', async () => {
    const port = await findClosedPort()
    await withClient(async (client) => {
      const refused = { status: 502, headers: REFUSED, body: '' }
      for (const authority of [`127.0.0.1:${port}`, '_check', '_udp2:80', '127.1', 'no-such-name.invalid']) {
        expect(await refusal(client.send(authorized({ authority })))).toEqual(refused)
      }
      const headers = { 'x-warning': '320 - Destination denied by filtering rules' }
      const denied = client.send(authorized({ authority: '127.0.0.1:25' }))
      expect(await refusal(denied)).toEqual({ status: 502, headers, body: '' })
    })
    const line = await endpoint.waitForLog((entry) => entry['code'] === 'target_denied')
    expect(line).toMatchObject({ msg: 'request refused', user: USER.username, protocol, status: 502 })
  })

  it('plain requests are refused when the server ends without an answer, or asks for credentials of a proxy', async () => {
    await using silent = await openTcpTarget((socket) => socket.once('data', () => socket.end()))
    await using other = await openTcpTarget((socket) =>
      socket.once('data', () => socket.end('SSH-2.0-x\r\n')),
    )
    await using asking = await openOrigin((_, response) =>
      response.writeHead(407, { 'proxy-authenticate': 'Basic realm="x"' }).end(),
    )
    await withClient(async (client) => {
      for (const { authority } of [silent, other, asking]) {
        expect(await refusal(client.send(authorized({ authority })))).toEqual({
          status: 502,
          headers: REFUSED,
          body: '',
        })
      }
    })
    await settled(() => silent.sockets.size === 0 && other.sockets.size === 0)
  })

  it('plain requests carry content both ways at once', async () => {
    await using origin = await openOrigin((request, response) => {
      response.writeHead(200, { 'x-method': request.method })
      request.pipe(response)
    })
    await withClient(async (client) => {
      const { authority } = origin
      const exchange = client.send(authorized({ authority, method: 'POST', hasContent: true }))
      exchange.content.write('first')
      const { status, headers, body } = await exchange.answer
      expect(status).toBe(200)
      expect(headers['x-method']).toBe('POST')
      expect((await readBytes(body, 5)).toString()).toBe('first')
      exchange.content.end('second')
      expect((await readAll(body)).toString()).toBe('second')
      const { headers: received } = origin.requests[0] ?? {}
      expect(received?.['transfer-encoding']).toBe('chunked')
    })
  })

  it('plain requests carry a declared length on, and nothing more', async () => {
    await using origin = await openOrigin((request, response) => {
      void readAll(request).then((content) =>
        response.end(`${request.headers['content-length']} ${content.toString()}`),
      )
    })
    await withClient(async (client) => {
      const headers = { 'content-length': '5' }
      const exchange = client.send(
        authorized({ authority: origin.authority, method: 'PUT', headers, hasContent: true }),
      )
      exchange.content.end('12345')
      expect((await whole(exchange)).body).toBe('5 12345')
    })
  })

  it('plain requests bring 50 MB unchanged', { timeout: 60_000 }, async () => {
    await using origin = await openOrigin((_, response) => void sendPattern(response, DOWNLOAD_BYTES))
    await withClient(async (client) => {
      const { body } = await client.send(authorized({ authority: origin.authority })).answer
      expect(await hashOf(body)).toEqual({ bytes: DOWNLOAD_BYTES, hash: hashOfPattern(DOWNLOAD_BYTES) })
    })
    const stats = await endpoint.waitUntilFree()
    expect(stats[`outbound_traffic_bytes{${protocol}}`]).toBeGreaterThanOrEqual(DOWNLOAD_BYTES)
  })

  it('plain requests have answers without content, and answers that end with the connection', async () => {
    await using origin = await openOrigin((request, response) => {
      const status = Number(request.url?.slice(1))
      response.writeHead(status, status === 200 ? { 'content-length': '7' } : { etag: '"x"' }).end()
    })
    await using old = await openTcpTarget((socket) =>
      socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\n\r\nto the end')),
    )
    await withClient(async (client) => {
      const head = client.send(authorized({ authority: origin.authority, method: 'HEAD', path: '/200' }))
      expect(await whole(head)).toMatchObject({ status: 200, headers: { 'content-length': '7' }, body: '' })
      for (const status of [204, 304]) {
        const { authority } = origin
        const answer = await whole(client.send(authorized({ authority, path: `/${status}` })))
        expect(answer).toMatchObject({ status, headers: { etag: '"x"' }, body: '' })
      }
      const answer = await whole(client.send(authorized({ authority: old.authority })))
      expect(answer).toMatchObject({ status: 200, body: 'to the end' })
    })
    await settled(() => origin.sockets.size === 0 && old.sockets.size === 0)
  })

  it('plain requests do not pass on interim answers', async () => {
    await using origin = await openTcpTarget((socket) =>
      socket.once('data', () =>
        socket.end(
          'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
        ),
      ),
    )
    await withClient(async (client) => {
      const answer = await whole(client.send(authorized({ authority: origin.authority })))
      expect(answer).toMatchObject({ status: 200, body: 'ok' })
    })
  })

  it('plain requests are reset when the server breaks off in the middle', async () => {
    await using origin = await openTcpTarget((socket) =>
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf')),
    )
    await withClient(async (client) => {
      const { status, body } = await client.send(authorized({ authority: origin.authority })).answer
      expect(status).toBe(200)
      await expect(readAll(body)).rejects.toThrow()
    })
  })

  it('plain requests that the client gives up close the connection to the server', async () => {
    await using answering = await openOrigin((_, response) => void response.write('begun'))
    await using silent = await openOrigin(() => {})
    await withClient(async (client) => {
      const begun = client.send(authorized({ authority: answering.authority }))
      await readBytes((await begun.answer).body, 5)
      expect(answering.sockets.size).toBe(1)
      begun.cancel()
      // An HTTP/3 client reports that it has stopped reading only when something is sent to it.
      const [response] = answering.requests.map((request) => request.socket)
      await settled(() => {
        if (protocol === 'HTTP3') response?.write('5\r\nagain\r\n')
        return answering.sockets.size === 0
      })
    })
    await withClient(async (client) => {
      const waiting = client.send(authorized({ authority: silent.authority }))
      await settled(() => silent.requests.length === 1)
      if (protocol === 'HTTP3') await client[Symbol.asyncDispose]()
      else waiting.cancel()
      await settled(() => silent.sockets.size === 0)
    })
  })

  // The HTTP/3 client library reads ahead without limit, so over HTTP/3 nothing can be seen from its side.
  if (protocol !== 'HTTP3') {
    it('plain requests are held back when the client does not read', async () => {
      let sent: { readonly taken: number } | undefined
      const total = 512 * 1_048_576
      await using origin = await openOrigin((_, response) => void (sent = sendPattern(response, total)))
      await withClient(async (client) => {
        const exchange = client.send(authorized({ authority: origin.authority }))
        const body: Readable = (await exchange.answer).body
        body.pause()
        let last = -1
        for (let calm = 0; calm < 5; calm = sent?.taken === last ? calm + 1 : 0) {
          last = sent?.taken ?? 0
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
        expect(last).toBeLessThan(64 * 1_048_576)
      })
      await settled(() => origin.sockets.size === 0)
    })
  }

  it('plain requests that ask for TRACE, or for a page of ours under our name, get what the site answers', async () => {
    await using origin = await openOrigin(hello)
    await withClient(async (client) => {
      const traced = client.send(authorized({ authority: origin.authority, method: 'TRACE' }))
      expect(await whole(traced)).toMatchObject({ status: 405, headers: { server: 'nginx' } })
      expect(origin.requests).toEqual([])
      // The page is the other server's when the name is.
      const theirs = client.send(authorized({ authority: origin.authority, path: '/ping' }))
      expect((await whole(theirs)).body).toBe('hello')
    })
    if (protocol === 'HTTP3') return
    await withClient(async (client) => {
      const ours = client.send(authorized({ authority: 'vpn.endpoint', path: '/ping' }))
      expect(await whole(ours)).toMatchObject({ status: 200, body: '' })
    })
  })

  it('plain requests are counted, and told in the line of the session', async () => {
    await using origin = await openOrigin((request, response) => void request.pipe(response))
    const before = (await endpoint.waitUntilFree())['requests{forward}'] ?? 0
    await withClient(async (client) => {
      const exchange = client.send(
        authorized({ authority: origin.authority, method: 'POST', hasContent: true }),
      )
      exchange.content.end('x'.repeat(1000))
      expect((await whole(exchange)).body.length).toBe(1000)
    })
    const after = await endpoint.waitUntilFree()
    expect(after['requests{forward}']).toBe(before + 1)
    expect(after['forwards_ended{ended}']).toBeGreaterThan(0)
    const ended = await endpoint.waitForLog(
      (line) => line['msg'] === 'session ended' && line['uplinkBytes'] === 1000,
    )
    expect(ended).toMatchObject({ protocol, user: USER.username, streams: 1, downlinkBytes: 1000 })
  })
})

describe.each(FORWARD_CLIENTS)('plain requests over %s, private targets closed', (_, openClient) => {
  it.each([
    ['10.0.0.1', '310 - DNS: resolved address in non-routable network'],
    ['[fd00::1]:8080', '310 - DNS: resolved address in non-routable network'],
    ['127.0.0.1', '311 - DNS: resolved address in loopback'],
    ['localhost:81', '311 - DNS: resolved address in loopback'],
  ])('plain requests to %s are refused where private targets are closed', async (authority, warning) => {
    await using endpoint = await startEndpoint({ protocols: PROTOCOLS, allowPrivate: false })
    await using client = await openClient(endpoint.port)
    expect(await refusal(client.send(authorized({ authority })))).toEqual({
      status: 502,
      headers: { 'x-adguard-vpn-error': authority, 'x-warning': warning },
      body: '',
    })
  })

  it('plain requests are refused beyond the sessions that the user may hold', async () => {
    const limits = 'max_http2_conns = 1\nmax_http3_conns = 1\n'
    await using endpoint = await startEndpoint({
      protocols: PROTOCOLS,
      credentials: `[[client]]\nusername = "premium"\npassword = 'p:w"x'\n${limits}`,
    })
    await using origin = await openOrigin(hello)
    await using first = await openClient(endpoint.port)
    await using second = await openClient(endpoint.port)
    const query = authorized({ authority: origin.authority })
    expect((await whole(first.send(query))).status).toBe(200)
    const refused = { status: 429, headers: { 'retry-after': '30' }, body: '' }
    expect(await refusal(second.send(query))).toEqual(refused)
    expect((await whole(first.send(query))).status).toBe(200)
  })
})

expectNothingLeftOpen()
