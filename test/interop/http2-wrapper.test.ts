/** `http2-wrapper`'s proxy agents through the endpoint to real https and h2 servers: a client that we did not write. */
import { once } from 'node:events'
import http2 from 'node:http2'
import https from 'node:https'
import { createServer as createHttpsServer } from 'node:https'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import http2Wrapper from 'http2-wrapper'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { testCertificate } from '../support/certificate.ts'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hashOf, hashOfPattern, sendPattern } from '../support/patterned-bytes.ts'
import { readAll } from '../support/reading.ts'

const SIZE = 2_000_000
/** The wrapper takes credentials out of a URL as they stand there. */
const HOSTS =
  '[[main_hosts]]\nhostname = "localhost"\ncert_chain_path = "cert.pem"\nprivate_key_path = "key.pem"\n'
const CREDENTIALS = '[[client]]\nusername = "premium"\npassword = "secret"\n'

interface Answer extends Readable {
  readonly statusCode?: number
}
interface WebServer extends AsyncDisposable {
  readonly port: number
}

let endpoint: TestEndpoint
let web: WebServer
let web2: WebServer
beforeAll(async () => {
  endpoint = await startEndpoint({ credentials: CREDENTIALS, hosts: HOSTS })
  web = await openHttps()
  web2 = await openHttp2()
})
/** The wrapper keeps sessions with proxies in an agent for all. */
afterEach(() => http2Wrapper.globalAgent.destroy())
afterAll(async () => {
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
  await web[Symbol.asyncDispose]()
  await web2[Symbol.asyncDispose]()
})

function proxyOptions(password = 'secret') {
  return {
    url: `https://premium:${password}@localhost:${endpoint.port}`,
    rejectUnauthorized: false,
  }
}

async function openHttps(): Promise<WebServer> {
  const server = createHttpsServer(testCertificate(), (request, response) => {
    if (request.method === 'GET') return sendPattern(response, SIZE)
    return request.pipe(response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function openHttp2(): Promise<WebServer> {
  const server = http2.createSecureServer(testCertificate())
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => void sessions.add(session))
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {})
    stream.respond({ ':status': 200 })
    if (headers[':method'] === 'GET') sendPattern(stream, SIZE)
    else stream.pipe(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

const WHOLE = { bytes: SIZE, hash: hashOfPattern(SIZE) }

async function requestHttps(
  options: https.RequestOptions,
  agent: https.Agent,
  body?: number,
): Promise<Answer> {
  const target = { host: '127.0.0.1', port: web.port, rejectUnauthorized: false }
  const client = https.request({ ...target, agent, ...options })
  const answer = once(client, 'response') as Promise<[Answer]>
  if (body === undefined) client.end()
  else sendPattern(client, body)
  return (await answer)[0]
}

function openAgent(password?: string): https.Agent {
  return new http2Wrapper.proxies.HttpsOverHttp2({ proxyOptions: proxyOptions(password) })
}

describe('HttpsOverHttp2', () => {
  it('HttpsOverHttp2 downloads and uploads', async () => {
    const agent = openAgent()
    const page = await requestHttps({ path: '/' }, agent)
    expect(page.statusCode).toBe(200)
    expect(await hashOf(page)).toEqual(WHOLE)
    expect(await hashOf(await requestHttps({ method: 'POST' }, agent, SIZE))).toEqual(WHOLE)
    agent.destroy()
  })

  it('HttpsOverHttp2 downloads and uploads many times at once, over one session', async () => {
    const before = (await endpoint.supervisor.stats())['sessions_total{HTTP2}'] ?? 0
    const agent = openAgent()
    // The first request brings the session up, the others find it.
    await readAll(await requestHttps({ method: 'POST' }, agent, 1))
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => requestHttps({ method: 'POST' }, agent, 100_000)),
    )
    const hashes = await Promise.all(answers.map(hashOf))
    expect(new Set(hashes.map(({ hash }) => hash))).toEqual(new Set([hashOfPattern(100_000)]))
    expect((await endpoint.supervisor.stats())['sessions_total{HTTP2}']).toBe(before + 1)
    agent.destroy()
  })

  it('HttpsOverHttp2 is told 407 for a wrong password', async () => {
    await expect(requestHttps({}, openAgent('wrong'))).rejects.toMatchObject({ statusCode: 407 })
  })
})

describe('Http2OverHttp2', () => {
  it('Http2OverHttp2 downloads and uploads in one HTTP/2 session within one tunnel', async () => {
    const agent = new http2Wrapper.proxies.Http2OverHttp2({ proxyOptions: proxyOptions() })
    const request = async (method: string, body?: number): Promise<Answer> => {
      const client = http2Wrapper.request({
        host: 'localhost',
        port: web2.port,
        method,
        agent,
        rejectUnauthorized: false,
      })
      const answer = once(client, 'response') as Promise<[Answer]>
      if (body === undefined) client.end()
      else sendPattern(client, body)
      return (await answer)[0]
    }
    const page = await request('GET')
    expect(page.statusCode).toBe(200)
    expect(await hashOf(page)).toEqual(WHOLE)
    expect(await hashOf(await request('POST', SIZE))).toEqual(WHOLE)
    expect((await endpoint.supervisor.stats())['open_streams']).toBe(1)
    agent.destroy()
  })
})

expectNothingLeftOpen()
