/**
 * Several hosts over HTTP/3. The QUIC library does not reveal the server name, so `:authority` decides what a request
 * is for, as the name in the ClientHello does over TCP. Every host used to be taken for a main one: ping and speed-test
 * hosts answered 404 or 413, and hosts of the reverse proxy showed the decoy.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startEndpoint, USER } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H3Client, answerOf } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'

const MIB = 1_048_576
const AUTHORIZATION = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`

function hostsFile(hosts: Record<string, string>): string {
  const entry = ([name, list]: [string, string]): string =>
    `[[${list}]]\nhostname = "${name}"\ncert_chain_path = "cert.pem"\nprivate_key_path = "key.pem"\n`
  return Object.entries(hosts).map(entry).join('\n')
}

const HOSTS = {
  'vpn.endpoint': 'main_hosts',
  'ping.endpoint': 'ping_hosts',
  '*.speed.endpoint': 'speedtest_hosts',
  'app.endpoint': 'reverse_proxy_hosts',
}

let origin: Server
let endpoint: TestEndpoint

beforeAll(async () => {
  origin = createServer((request, response) => response.end(`origin: ${request.url}`))
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as AddressInfo
  endpoint = await startEndpoint({
    protocols: ['http1', 'http2', 'quic'],
    hosts: hostsFile(HOSTS),
    tables: `[reverse_proxy]\nserver_address = "127.0.0.1:${port}"\npath_mask = "/masked"`,
  })
})

afterAll(async () => {
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
  origin.closeAllConnections()
  origin.close()
})

interface Query {
  readonly method?: string
  readonly scheme?: string
  readonly headers?: Record<string, string>
  readonly content?: Buffer
}

/** One request on a connection of its own: a ping ends its session. */
async function ask(authority: string, path: string, query: Query = {}) {
  const { method = 'GET', scheme = 'https', headers = {}, content } = query
  await using client = await H3Client.open(endpoint.port)
  const length = content && { 'content-length': String(content.length) }
  const stream = client.request(
    { ':method': method, ':scheme': scheme, ':authority': authority, ':path': path, ...headers, ...length },
    { endStream: content === undefined },
  )
  const body = readAll(stream)
  if (content) stream.end(content)
  const { status } = await answerOf(stream)
  return { status, body: String(await body) }
}

it.each(['ping.endpoint', 'PING.endpoint', 'ping.endpoint:443', 'ping.endpoint.'])(
  'HTTP/3 answers every path of %s as a ping',
  async (authority) => {
    expect(await ask(authority, '/any')).toEqual({ status: 200, body: '' })
  },
)

it('HTTP/3 sends and takes speed tests on their host, found by its wildcard', async () => {
  const { status, body } = await ask('a.speed.endpoint', '/1mb.bin')
  expect({ status, bytes: body.length }).toEqual({ status: 200, bytes: MIB })
  const upload = { method: 'POST', content: Buffer.alloc(2 * MIB) }
  expect((await ask('a.speed.endpoint', '/upload.html', upload)).status).toBe(200)
})

it('HTTP/3 passes every path of the host of the reverse proxy on to the origin', async () => {
  expect(await ask('app.endpoint', '/outside/the/mask')).toEqual({
    status: 200,
    body: 'origin: /outside/the/mask',
  })
})

it('HTTP/3 shows paths of the main host there alone, and the decoy under a name that nobody knows', async () => {
  expect((await ask('vpn.endpoint', '/masked/x')).body).toBe('origin: /masked/x')
  expect((await ask('other.endpoint', '/masked/x')).status).toBe(404)
  expect((await ask('127.0.0.1:443', '/masked/x')).status).toBe(404)
  expect((await ask('[::1]:443', '/')).status).toBe(200)
})

it('HTTP/3 takes the authority of a tunnel and of a forwarded request for a target, whatever its name', async () => {
  await using client = await H3Client.open(endpoint.port)
  const headers = { 'proxy-authorization': AUTHORIZATION }
  // As a ping it would get 200; as a target its name does not resolve.
  expect((await client.tunnel('ping.endpoint:443', headers)).status).toBe(502)
  expect((await client.tunnel('_check', headers)).status).toBe(200)
  expect((await ask('ping.endpoint', '/', { scheme: 'http', headers })).status).toBe(502)
})

it('the hosts of HTTP/3 follow a reload', async () => {
  await writeFile(endpoint.files.hosts, hostsFile({ ...HOSTS, 'late.endpoint': 'ping_hosts' }))
  expect((await ask('late.endpoint', '/late')).status).toBe(404)
  await endpoint.supervisor.reload()
  expect((await ask('late.endpoint', '/late')).status).toBe(200)
})

expectNothingLeftOpen()
