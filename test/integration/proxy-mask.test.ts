/**
 * The reverse proxy passes a target on as it was written. Its mask was compared with what the target means to one kind
 * of server; others read the same target as a path outside the mask, and anybody could ask for it.
 */
import { once } from 'node:events'
import http from 'node:http'
import type { Server } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { OPEN_EDGE, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H3Client, answerOf } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'

const OUTSIDE = [
  '/admin/../app',
  '/admin/%2e%2e/app',
  '/admin/..%2fapp',
  '/admin%2f..%2fapp',
  '/admin//../app',
  '/admin/x/..;/..;/../app',
  '//app/admin',
  '/app/../admin',
  '/app/;/../admin',
  '/app/;x/../admin',
  '/app/x/..;/../admin',
  '/app/.;/../admin',
  '/app/..;/admin',
  '/app/%5c/../admin',
  '/app/\\/../admin',
  '/app/..%255cadmin',
  '/app/%252e/../admin',
  '/app/%252f/../admin',
  '/app#/../admin',
  '/app/x%23/../../admin',
  '/app/%25252e%25252e/admin',
  '/app/%c0%ae%c0%ae/admin',
]
const INSIDE = [
  '/app',
  '/apple',
  '/app?next=/../x',
  '/app/a%20b',
  '/app/group%2Fproject',
  '/app/x;jsessionid=1A.n1/y',
  '/app//x',
  '/app/100%25',
]

const HOSTS = ['vpn.endpoint main_hosts', 'app.endpoint reverse_proxy_hosts'].map((line) => {
  const [name, list] = line.split(' ')
  return `[[${list}]]\nhostname = "${name}"\ncert_chain_path = "cert.pem"\nprivate_key_path = "key.pem"\n`
})

let origin: Server
let endpoint: TestEndpoint
/** The targets as they reached the origin. */
let targets: string[] = []

beforeAll(async () => {
  origin = http.createServer((request, response) => {
    targets.push(request.url ?? '')
    response.end()
  })
  origin.on('upgrade', (request, socket: Socket) => {
    targets.push(request.url ?? '')
    socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
  })
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as AddressInfo
  endpoint = await startEndpoint({
    protocols: ['http1', 'http2', 'quic'],
    hosts: HOSTS.join('\n'),
    tables: `${OPEN_EDGE}[reverse_proxy]\nserver_address = "127.0.0.1:${port}"\npath_mask = "/app"`,
  })
})

afterEach(() => void (targets = []))

afterAll(async () => {
  await endpoint[Symbol.asyncDispose]()
  origin.closeAllConnections()
  origin.close()
})

/** Asks for all of `paths` of `name`, one after the other, and resolves when each has its answer. */
type AskAll = (name: string, paths: readonly string[]) => Promise<void>

function http1(headers: Record<string, string>): AskAll {
  return async (name, paths) => {
    for (const path of paths) {
      const request = https.request({
        port: endpoint.port,
        host: '127.0.0.1',
        servername: name,
        rejectUnauthorized: false,
        agent: false,
        path,
        headers: { host: name, ...headers },
      })
      request.on('response', (response) => void response.resume())
      request.on('upgrade', (_response, socket) => void socket.destroy())
      request.end()
      await once(request, 'close')
    }
  }
}

const askHttp2: AskAll = async (name, paths) => {
  const session = http2.connect(`https://${name}`, {
    host: '127.0.0.1',
    port: endpoint.port,
    servername: name,
    rejectUnauthorized: false,
  })
  for (const path of paths) {
    const stream = session.request({ ':path': path }).resume()
    await once(stream, 'close')
  }
  session.close()
  await once(session, 'close')
}

const askHttp3: AskAll = async (name, paths) => {
  await using client = await H3Client.open(endpoint.port, {})
  for (const path of paths) {
    const head = { ':method': 'GET', ':scheme': 'https', ':authority': name, ':path': path }
    const stream = client.request(head, { endStream: true })
    const body = readAll(stream)
    await answerOf(stream)
    await body
  }
}

const UPGRADE = { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-key': 'x' }
/** Whether hosts of the reverse proxy speak it. */
const KINDS: readonly (readonly [string, AskAll, boolean])[] = [
  ['HTTP/1.1', http1({}), true],
  ['HTTP/2', askHttp2, false],
  ['HTTP/3', askHttp3, true],
  ['HTTP/1.1 with an upgrade', http1(UPGRADE), true],
]

describe.each(KINDS)('path mask over %s', (_, askAll, ownHosts) => {
  it('nothing that a server could read as a path outside the mask reaches the origin', async () => {
    await askAll('vpn.endpoint', OUTSIDE)
    expect(targets).toEqual([])
  })

  it('paths of ordinary applications reach the origin as they were written', async () => {
    await askAll('vpn.endpoint', INSIDE)
    expect(targets).toEqual(INSIDE)
  })

  // Over TCP, hosts of the reverse proxy speak HTTP/1.1 only: there is no such case over HTTP/2.
  if (ownHosts) {
    it('a host of the reverse proxy has no mask, and passes targets on unchanged', async () => {
      await askAll('app.endpoint', OUTSIDE)
      expect(targets).toEqual(OUTSIDE)
    })
  }
})

expectNothingLeftOpen()
