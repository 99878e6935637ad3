/**
 * What a stranger can reach of the server behind the reverse proxy: the paths under the mask, and nothing else.
 * `Upgrade: h2c` under the mask gave a connection on which HTTP/2 could ask for anything; `/app/../admin` was under the
 * mask for us but not for the server; and the stranger's `Host` could choose any site on the server. The names that it
 * may choose were then written down at the start: a name under a wildcard was never among them, a host that a reload
 * brought only after a restart.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { FORWARD_CLIENTS } from '../support/forward-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'
import { settled } from '../support/settled.ts'
import { echoWebSocket } from '../support/websocket-echo.ts'

const UPGRADE = 'Connection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n'

const certificate = 'cert_chain_path = "cert.pem"\nprivate_key_path = "key.pem"\n'
const mainHost = (name: string): string => `[[main_hosts]]\nhostname = "${name}"\n${certificate}`
const HOSTS = ['vpn.endpoint', '*.wild.endpoint'].map(mainHost).join('')

let endpoint: TestEndpoint
let origin: http.Server
let authority: string
let requests: IncomingMessage[]
const upgraded: IncomingMessage[] = []

beforeAll(async () => {
  origin = http.createServer((request, response) => {
    requests.push(request)
    response.end('from the origin')
  })
  origin.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    upgraded.push(request)
    echoWebSocket(request, socket, head)
  })
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  authority = `127.0.0.1:${(origin.address() as AddressInfo).port}`
  endpoint = await startEndpoint({
    protocols: ['http1', 'http2', 'quic'],
    hosts: HOSTS,
    tables: `[reverse_proxy]\nserver_address = "${authority}"\npath_mask = "/app"\n`,
  })
})

beforeEach(() => {
  requests = []
  upgraded.length = 0
})

afterAll(async () => {
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
  origin.close()
  await once(origin, 'close')
})

/** Everything that the endpoint answers to `head`, until it ends or `enough` holds. */
async function ask(head: string, enough: (answer: string) => boolean): Promise<string> {
  const socket = connectTls({
    host: '127.0.0.1',
    port: endpoint.port,
    servername: 'vpn.endpoint',
    rejectUnauthorized: false,
  })
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')))
  socket.write(head)
  await settled(() => enough(answer) || socket.readableEnded)
  socket.destroy()
  await once(socket, 'close')
  return answer
}

describe.each(FORWARD_CLIENTS)('the reverse proxy over %s', (_, openClient) => {
  async function get(path: string, host = 'vpn.endpoint'): Promise<string> {
    await using client = await openClient(endpoint.port)
    const { body } = await client.send({ authority: host, path }).answer
    return (await readAll(body)).toString()
  }

  it('the reverse proxy keeps every way out of the mask', async () => {
    expect(await get('/app/x')).toBe('from the origin')
    for (const path of ['/app/../admin', '/app/%2e%2e/admin', '/app%2f..%2fadmin', '/app/..;/admin']) {
      expect(await get(path)).not.toBe('from the origin')
    }
    expect(requests.map(({ url }) => url)).toEqual(['/app/x'])
  })

  it('the reverse proxy asks for a host of ours or for the server itself', async () => {
    await get('/app', 'vpn.endpoint')
    await get('/app', 'VPN.endpoint:8443')
    await get('/app', 'intranet.example')
    expect(requests.map(({ headers }) => headers.host)).toEqual([
      'vpn.endpoint',
      'VPN.endpoint:8443',
      authority,
    ])
  })

  it('the reverse proxy asks for a name under a wildcard of ours', async () => {
    await get('/app', 'a.wild.endpoint')
    await get('/app', 'wild.endpoint')
    await get('/app', 'a.b.wild.endpoint')
    expect(requests.map(({ headers }) => headers.host)).toEqual(['a.wild.endpoint', authority, authority])
  })

  it('the reverse proxy asks for a host as soon as a reload has brought it, and no longer than it is there', async () => {
    await get('/app', 'new.endpoint')
    await writeFile(endpoint.files.hosts, HOSTS + mainHost('new.endpoint'))
    await endpoint.supervisor.reload()
    await get('/app', 'new.endpoint')
    await writeFile(endpoint.files.hosts, HOSTS)
    await endpoint.supervisor.reload()
    await get('/app', 'new.endpoint')
    expect(requests.map(({ headers }) => headers.host)).toEqual([authority, 'new.endpoint', authority])
  })
})

describe('a name that only looks like one under a wildcard', () => {
  it.each(['a@b.wild.endpoint', '-.wild.endpoint'])(
    'the server behind the reverse proxy is not asked for %s',
    async (host) => {
      const head = `GET /app HTTP/1.1\r\nHost: ${host}\r\n\r\n`
      await ask(head, (answer) => answer.includes('\r\n\r\n'))
      expect(requests.map(({ headers }) => headers.host)).toEqual([authority])
    },
  )
})

describe('an upgrade under the mask', () => {
  const complete = (answer: string): boolean => answer.endsWith('from the origin')

  it.each(['h2c', 'h2c, websocket', 'tls/1.0', 'WebSocket/1'])(
    'an upgrade under the mask to %s is a plain request',
    async (protocol) => {
      const head = `GET /app/ws HTTP/1.1\r\nHost: vpn.endpoint\r\nUpgrade: ${protocol}\r\n${UPGRADE}\r\n`
      expect(await ask(head, complete)).toMatch(/^HTTP\/1\.1 200 /)
      expect(upgraded).toEqual([])
      expect(requests[0]?.headers).not.toHaveProperty('upgrade')
    },
  )

  it('an upgrade under the mask to a WebSocket is one', async () => {
    const head = `GET /app/ws HTTP/1.1\r\nHost: vpn.endpoint\r\nUpgrade: WebSocket\r\n${UPGRADE}\r\n`
    expect(await ask(head, (answer) => answer.includes('\r\n\r\n'))).toMatch(/^HTTP\/1\.1 101 /)
    expect(upgraded).toHaveLength(1)
  })

  it.each(['/app/../ws', '/app/%2e%2e/ws', '/app/..;/ws'])(
    'an upgrade under the mask does not leave it by %s',
    async (path) => {
      const head = `GET ${path} HTTP/1.1\r\nHost: vpn.endpoint\r\nUpgrade: websocket\r\n${UPGRADE}\r\n`
      expect(await ask(head, (answer) => answer.includes('nginx'))).toMatch(/^HTTP\/1\.1 404 /)
      expect([...upgraded, ...requests]).toEqual([])
    },
  )
})

expectNothingLeftOpen()
