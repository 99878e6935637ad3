/**
 * Requests that are sent without waiting for answers, to the whole endpoint: every one is answered in its turn, as nginx
 * answers it, up to the one that ends the connection. Answers used to be lost when a CONNECT, or something that is no
 * request, followed; a slow answer was written into the tunnel that had begun behind it; and a file that was being sent
 * when a CONNECT arrived stayed open for good.
 */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { settled } from '../support/settled.ts'
import { openEcho } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'

const GET = 'GET /small.txt HTTP/1.1\r\nHost: x\r\n\r\n'
const STRANGER = 'CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n'
const CREDENTIALS = `Proxy-Authorization: ${encodeBasicAuth(USER.username, USER.password)}\r\n`
const BIG_BYTES = 4_000_000

let root: string
let endpoint: TestEndpoint
let echo: TcpTarget
let origin: http.Server
let release: () => void = () => {}
const requests: { method: string; url: string; content: string }[] = []

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'culvert-pipelining-'))
  await writeFile(join(root, 'small.txt'), 'small\n')
  await writeFile(join(root, 'big.bin'), Buffer.alloc(BIG_BYTES))
  echo = await openEcho()
  origin = http.createServer((request, response) => {
    let content = ''
    request.on('data', (chunk: Buffer) => (content += chunk.toString('latin1')))
    request.on('end', () => {
      requests.push({ method: request.method ?? '', url: request.url ?? '', content })
      if (request.url === '/app/slow') release = () => void response.end('slow answer')
      else response.end('from the origin')
    })
  })
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as AddressInfo
  endpoint = await startEndpoint({
    protocols: ['http1'],
    keys: 'auth_failure_status_code = 405',
    tables: `[culvert.decoy]\nroot = "${root}"\n[reverse_proxy]\nserver_address = "127.0.0.1:${port}"\npath_mask = "/app"\n`,
  })
})

afterAll(async () => {
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
  await echo[Symbol.asyncDispose]()
  origin.close()
  await once(origin, 'close')
  await rm(root, { recursive: true })
})

class Client implements AsyncDisposable {
  readonly socket: TLSSocket
  received = ''

  constructor(socket: TLSSocket) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => (this.received += chunk.toString('latin1')))
  }

  static async open(): Promise<Client> {
    const socket = connectTls({
      port: endpoint.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      servername: 'vpn.endpoint',
    })
    await once(socket, 'secureConnect')
    return new Client(socket)
  }

  get statuses(): number[] {
    return Array.from(this.received.matchAll(/HTTP\/1\.1 (\d+) /g), (match) => Number(match[1]))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    if (!this.socket.closed) await once(this.socket, 'close')
  }
}

/** The statuses of everything that comes until the endpoint ends the connection. */
async function statusesOf(text: string): Promise<number[]> {
  await using client = await Client.open()
  client.socket.write(Buffer.from(text, 'latin1'))
  await settled(() => client.socket.readableEnded)
  return client.statuses
}

describe('pipelining', () => {
  it.each([
    ['a CONNECT of a stranger', GET + STRANGER, [200, 405]],
    ['something that is no request', `${GET}\0\u0001\u0002`, [200, 400]],
    ['a request without Host', `${GET}${GET}GET / HTTP/1.1\r\n\r\n`, [200, 200, 400]],
    ['another version', `${GET}GET / HTTP/2.0\r\n\r\n`, [200, 505]],
    [
      'more behind the last one',
      `${GET}${GET.replace('Host', 'Connection: close\r\nHost')}${GET}`,
      [200, 200],
    ],
    ['more behind a CONNECT', `${STRANGER}${GET}`, [405]],
    [
      'chunks that are none',
      `${GET}POST /small.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz`,
      [200, 405],
    ],
    ['HTTP/1.0', `${GET}GET /small.txt HTTP/1.0\r\n\r\n${GET}`, [200, 200]],
  ])('pipelined requests are answered up to the last: %s', async (_, text, statuses) => {
    expect(await statusesOf(text)).toEqual(statuses)
  })

  it('pipelined requests are answered in order, with their content between them', async () => {
    requests.length = 0
    const post = 'POST /app/1 HTTP/1.1\r\nHost: x\r\n'
    const text = [
      `${post}Content-Length: 5\r\n\r\nfirst`,
      `${post.replace('1', '2')}Transfer-Encoding: chunked\r\n\r\n6;x=y\r\nsecond\r\n0\r\nA: b\r\n\r\n`,
      GET,
      'GET /app/3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    ].join('')
    expect(await statusesOf(text)).toEqual([200, 200, 200, 200])
    expect(requests).toEqual([
      { method: 'POST', url: '/app/1', content: 'first' },
      { method: 'POST', url: '/app/2', content: 'second' },
      { method: 'GET', url: '/app/3', content: '' },
    ])
  })

  it('pipelined requests that fill more than what may wait are all answered', async () => {
    const count = 999
    await using client = await Client.open()
    client.socket.write(GET.replace('Host', `X: ${'x'.repeat(500)}\r\nHost`).repeat(count))
    await settled(() => client.statuses.length === count)
    expect(client.received).not.toMatch(/^Connection: close/m)
    // The thousandth is the last (nginx's keepalive_requests).
    client.socket.write(GET)
    await settled(() => client.socket.readableEnded)
    expect(client.received.match(/^Connection: close/gm)).toHaveLength(1)
    expect(client.statuses).toHaveLength(1000)
  })

  it('a tunnel that is asked for behind a slow request begins when that has its answer', async () => {
    await using client = await Client.open()
    const tunnel = `CONNECT ${echo.authority} HTTP/1.1\r\n${CREDENTIALS}\r\nearly`
    requests.length = 0
    client.socket.write(`GET /app/slow HTTP/1.1\r\nHost: x\r\n\r\n${tunnel}`)
    await settled(() => requests.length === 1)
    expect(client.received).toBe('')
    release()
    await settled(() => client.received.endsWith('early'))
    expect(client.statuses).toEqual([200, 200])
    expect(client.received).toMatch(/slow answer[^]*Connection established\r\n[^]*\r\n\r\nearly$/)
  })

  it('files that a client leaves behind, with a CONNECT after them, are closed', async () => {
    for (let round = 0; round < 4; round++) {
      await using client = await Client.open()
      client.socket.pause()
      client.socket.write(`${GET.replace('small.txt', 'big.bin').repeat(2)}CONNECT a:1 HTTP/1.1\r\n\r\n`)
      await endpoint.waitForStats((stats) => (stats['decoy_held_bytes'] ?? 0) > 0)
    }
    await endpoint.waitForStats((stats) => stats['decoy_held_bytes'] === 0 && stats['decoy_open_files'] === 0)
  })
})

describe('smuggling', () => {
  const SMUGGLED = 'GET /app/smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
  const asPost = (fields: string, content: string): string =>
    `POST /app/outer HTTP/1.1\r\nHost: x\r\n${fields}\r\n${content}`

  it.each([
    [
      'length and chunks',
      asPost('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${SMUGGLED}`),
    ],
    [
      'chunks and length',
      asPost('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', `0\r\n\r\n${SMUGGLED}`),
    ],
    ['two lengths', asPost('Content-Length: 0\r\nContent-Length: 44\r\n', SMUGGLED)],
    ['two codings', asPost('Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n', `0\r\n\r\n${SMUGGLED}`)],
    ['a list of codings', asPost('Transfer-Encoding: x, chunked\r\n', `0\r\n\r\n${SMUGGLED}`)],
    ['a coding behind a tab', asPost('Transfer-Encoding:\tchunked\r\n', `0\r\n\r\n${SMUGGLED}`)],
    ['a space before the colon', asPost('Transfer-Encoding : chunked\r\n', `0\r\n\r\n${SMUGGLED}`)],
    ['a folded coding', asPost('Transfer-Encoding:\r\n chunked\r\n', `0\r\n\r\n${SMUGGLED}`)],
    ['a length with a sign', asPost('Content-Length: +44\r\n', SMUGGLED)],
    ['CR in a value', asPost('X: a\rTransfer-Encoding: chunked\r\n', `0\r\n\r\n${SMUGGLED}`)],
    ['chunks over HTTP/1.0', asPost('Transfer-Encoding: chunked\r\n', SMUGGLED).replace('1.1', '1.0')],
    ['NUL in a value', asPost('X: a\0b\r\n', SMUGGLED)],
  ])('a request whose content has two ends goes nowhere: %s', async (_, text) => {
    requests.length = 0
    const [status] = await statusesOf(text)
    expect([400, 501]).toContain(status)
    expect(requests).toEqual([])
  })

  it.each([
    ['an underscore', asPost('Transfer_Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n')],
    ['a strange character', asPost('Transfer-Encoding\u00ff: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n')],
    [
      'a name in Connection',
      asPost('Connection: close, content-length\r\nContent-Length: 5\r\n', '0\r\n\r\n'),
    ],
  ])('a field that only looks like one that frames is not forwarded: %s', async (_, text) => {
    requests.length = 0
    await using client = await Client.open()
    client.socket.write(Buffer.from(text + SMUGGLED.replace('Host', 'Connection: close\r\nHost'), 'latin1'))
    await settled(() => client.socket.readableEnded)
    expect(requests[0]).toEqual({ method: 'POST', url: '/app/outer', content: '0\r\n\r\n' })
  })
})

expectNothingLeftOpen()
