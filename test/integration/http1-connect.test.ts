/**
 * CONNECT over HTTP/1.1: one per connection, the same answers as over HTTP/2, half-close and resets as TCP has them.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { UdpDownlinkDecoder } from '../../src/wire/udp-frame.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { missing, run } from '../support/outside-program.ts'
import { hashOf, hashOfPattern, sendPattern } from '../support/patterned-bytes.ts'
import { readAll, readBytes } from '../support/reading.ts'
import { findClosedPort } from '../support/closed-port.ts'
import { openEcho, openRequestResponder, openTcpTarget, openUdpEcho } from '../support/targets.ts'
import { udpFrame } from '../support/udp-client.ts'

const AUTHORIZATION = `Proxy-Authorization: ${encodeBasicAuth(USER.username, USER.password)}\r\n`

let endpoint: TestEndpoint
beforeAll(async () => {
  endpoint = await startEndpoint({
    hosts: ['vpn.endpoint', 'localhost']
      .map(
        (name) =>
          `[[main_hosts]]\nhostname = "${name}"\ncert_chain_path = "cert.pem"\nprivate_key_path = "key.pem"\n`,
      )
      .join(''),
  })
})
afterAll(async () => {
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
})

class Connection implements AsyncDisposable {
  readonly socket: TLSSocket
  readonly #raw: Socket

  constructor(socket: TLSSocket, raw: Socket) {
    this.socket = socket
    this.#raw = raw
    socket.on('error', () => {})
    raw.on('error', () => {})
  }

  static async open(): Promise<Connection> {
    const raw = connectTcp({ port: endpoint.port, host: '127.0.0.1', allowHalfOpen: true })
    const socket = connectTls({
      socket: raw,
      servername: 'vpn.endpoint',
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    })
    await once(socket, 'secureConnect')
    return new Connection(socket, raw)
  }

  /** TCP RST. */
  reset(): void {
    this.#raw.resetAndDestroy()
  }

  /** Writes `text` and resolves with the head of the answer; what follows it stays in the socket. */
  async ask(text: string | Buffer): Promise<string> {
    this.socket.write(text)
    return this.head()
  }

  async head(): Promise<string> {
    let text = ''
    while (!text.endsWith('\r\n\r\n')) {
      const byte = this.socket.read(1) as Buffer | null
      if (byte !== null) text += byte.toString('latin1')
      else if (this.socket.readableEnded || this.socket.destroyed) throw new Error(`ended after ${text}`)
      else
        await Promise.race([
          once(this.socket, 'readable'),
          once(this.socket, 'end'),
          once(this.socket, 'close'),
        ])
    }
    return text
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    if (!this.socket.closed) await once(this.socket, 'close')
  }
}

function statusOf(head: string): number {
  return Number(/^HTTP\/1\.[01] (\d{3}) /.exec(head)?.[1])
}

async function openTunnel(authority: string): Promise<Connection> {
  const connection = await Connection.open()
  const head = await connection.ask(
    `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${AUTHORIZATION}\r\n`,
  )
  expect(statusOf(head)).toBe(200)
  return connection
}

describe('a tunnel', () => {
  it('a tunnel over HTTP/1.1 carries bytes both ways', async () => {
    await using echo = await openEcho()
    await using tunnel = await openTunnel(echo.authority)
    sendPattern(tunnel.socket, 3_000_000)
    expect(await hashOf(tunnel.socket)).toEqual({ bytes: 3_000_000, hash: hashOfPattern(3_000_000) })
  })

  it.each([
    ['absolute-form', (authority: string) => `CONNECT https://${authority}/ HTTP/1.1\r\nHost: x\r\n`],
    [
      'absolute-form without a path',
      (authority: string) => `CONNECT http://${authority} HTTP/1.1\r\nHost: x\r\n`,
    ],
    ['origin-form and Host', (authority: string) => `CONNECT / HTTP/1.1\r\nHost: ${authority}\r\n`],
    ['no Host', (authority: string) => `CONNECT ${authority} HTTP/1.1\r\n`],
    ['HTTP/1.0', (authority: string) => `CONNECT ${authority} HTTP/1.0\r\n`],
  ])('a tunnel over HTTP/1.1 may be asked for by %s', async (_, request) => {
    await using echo = await openEcho()
    await using connection = await Connection.open()
    const head = await connection.ask(`${request(echo.authority)}${AUTHORIZATION}\r\n`)
    expect(statusOf(head)).toBe(200)
    connection.socket.end('ping')
    expect((await readAll(connection.socket)).toString()).toBe('ping')
  })

  it('a tunnel over HTTP/1.1 is answered with nothing that would end or frame it', async () => {
    await using echo = await openEcho()
    await using connection = await Connection.open()
    const head = await connection.ask(`CONNECT ${echo.authority} HTTP/1.1\r\n${AUTHORIZATION}\r\n`)
    expect(head).not.toMatch(/content-length|transfer-encoding/i)
  })

  it('a tunnel over HTTP/1.1 gets what was sent behind the head, in the same write or split anywhere', async () => {
    await using echo = await openEcho()
    const request = Buffer.from(`CONNECT ${echo.authority} HTTP/1.1\r\n${AUTHORIZATION}\r\nearly bytes`)
    for (const pieceBytes of [request.length, 1, 7]) {
      await using connection = await Connection.open()
      for (let at = 0; at < request.length; at += pieceBytes) {
        connection.socket.write(request.subarray(at, at + pieceBytes))
        await new Promise((resolve) => setImmediate(resolve))
      }
      expect(statusOf(await connection.head())).toBe(200)
      connection.socket.end(' and late ones')
      expect((await readAll(connection.socket)).toString()).toBe('early bytes and late ones')
    }
  })

  it('a tunnel over HTTP/1.1 keeps the downlink open after the client has ended', async () => {
    await using target = await openRequestResponder((request) => Buffer.from(`got ${request.length}`))
    await using tunnel = await openTunnel(target.authority)
    tunnel.socket.end(Buffer.alloc(100_000))
    expect((await readAll(tunnel.socket)).toString()).toBe('got 100000')
  })

  it('a tunnel over HTTP/1.1 keeps the uplink open after the target has ended', async () => {
    const uplink = Promise.withResolvers<Buffer>()
    await using target = await openTcpTarget((socket) => {
      socket.end('bye')
      readAll(socket).then(uplink.resolve, uplink.reject)
    })
    await using tunnel = await openTunnel(target.authority)
    expect((await readAll(tunnel.socket)).toString()).toBe('bye')
    tunnel.socket.end(Buffer.alloc(200_000))
    expect((await uplink.promise).length).toBe(200_000)
  })

  it("a tunnel over HTTP/1.1 ends with RST when the target's connection was reset", async () => {
    await using target = await openTcpTarget((socket) => socket.once('data', () => socket.resetAndDestroy()))
    await using tunnel = await openTunnel(target.authority)
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => tunnel.socket.once('error', resolve))
    tunnel.socket.resume()
    tunnel.socket.write('hello')
    expect((await failed).code).toBe('ECONNRESET')
  })

  it("a tunnel over HTTP/1.1 turns the client's reset into RST at the target", async () => {
    await using target = await openTcpTarget((socket) => socket.resume())
    const arrival = target.nextSocket()
    await using tunnel = await openTunnel(target.authority)
    const failed = once(await arrival, 'error')
    tunnel.reset()
    await expect(failed).resolves.toMatchObject([{ code: 'ECONNRESET' }])
    await expect.poll(() => target.sockets.size, { timeout: 10_000 }).toBe(0)
  })
})

describe('pseudo-hosts', () => {
  it.each(['_check', '_check:443'])(
    'the pseudo-host %s is answered over HTTP/1.1, and over',
    async (authority) => {
      await using connection = await Connection.open()
      const head = await connection.ask(`CONNECT ${authority} HTTP/1.1\r\n${AUTHORIZATION}\r\n`)
      expect(statusOf(head)).toBe(200)
      expect((await readAll(connection.socket)).length).toBe(0)
    },
  )

  it('the pseudo-host _udp2 carries datagrams over HTTP/1.1', async () => {
    await using echo = await openUdpEcho()
    await using tunnel = await openTunnel('_udp2')
    const replies: string[] = []
    const decoder = new UdpDownlinkDecoder(({ payload }) => replies.push(payload.toString()))
    tunnel.socket.write(udpFrame({ address: '127.0.0.1', port: echo.port }, 'over HTTP/1.1'))
    decoder.push(await readBytes(tunnel.socket, 40 + 'over HTTP/1.1'.length))
    expect(replies).toEqual(['over HTTP/1.1'])
  })
})

function credentials(value: string): string {
  return value === '' ? '' : `Proxy-Authorization: ${value}\r\n`
}

describe('a refusal', () => {
  it.each(['', 'Basic', 'Basic !!!!', 'Bearer x', encodeBasicAuth(USER.username, 'wrong')])(
    'a refusal is 407 for %j and ends the connection',
    async (value) => {
      await using connection = await Connection.open()
      const head = await connection.ask(`CONNECT _check HTTP/1.1\r\n${credentials(value)}\r\n`)
      expect(statusOf(head)).toBe(407)
      expect(head).toMatch(/^proxy-authenticate: Basic realm="Authorization Required"\r$/im)
      expect(head).toMatch(/^connection: close\r$/im)
      expect(head).toMatch(/^content-length: 0\r$/im)
      expect((await readAll(connection.socket)).length).toBe(0)
    },
  )

  it('a refusal is 502 with its warning for a target that is not there', async () => {
    const port = await findClosedPort()
    await using connection = await Connection.open()
    const head = await connection.ask(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\n${AUTHORIZATION}\r\n`)
    expect(statusOf(head)).toBe(502)
    expect(head).toMatch(/^x-warning: 300 - Connection failed for some reason\r$/im)
    expect(head).toMatch(/^connection: close\r$/im)
    expect((await readAll(connection.socket)).length).toBe(0)
  })
})

it('ordinary requests share a connection, and a CONNECT may follow them', async () => {
  await using echo = await openEcho()
  await using connection = await Connection.open()
  for (let request = 0; request < 3; request++) {
    const head = await connection.ask('HEAD / HTTP/1.1\r\nHost: vpn.endpoint\r\n\r\n')
    expect(head).not.toMatch(/^connection: close/im)
  }
  const head = await connection.ask(`CONNECT ${echo.authority} HTTP/1.1\r\n${AUTHORIZATION}\r\n`)
  expect(statusOf(head)).toBe(200)
  connection.socket.end('ping')
  expect((await readAll(connection.socket)).toString()).toBe('ping')
})

const curl = missing('curl')

async function curlThrough(password: string, args: readonly string[], input = '') {
  const user = `${USER.username}:${encodeURIComponent(password)}`
  const proxy = `https://${user}@localhost:${endpoint.port}`
  const certificate = join(endpoint.directory, 'cert.pem')
  // The environment may name proxies, and hosts to reach without one.
  const common = ['-sS', '--noproxy', '', '--proxy', proxy, '--proxy-cacert', certificate]
  const { code, stdout, stderr } = await run('curl', [...common, ...args], { input })
  return { code, stdout: stdout.toString(), stderr }
}

describe.skipIf(curl.any)(`curl${curl.note}`, () => {
  it('curl over HTTP/1.1 fetches a page, and uploads, through a tunnel', async () => {
    await using web = await openWebServer()
    const page = await curlThrough(USER.password, ['-p', `${web.origin}/page`])
    expect(page).toMatchObject({ code: 0, stdout: 'GET /page 0' })
    const upload = ['-p', '--data-binary', '@-', `${web.origin}/`]
    const answer = await curlThrough(USER.password, upload, 'x'.repeat(500_000))
    expect(answer).toMatchObject({ code: 0, stdout: 'POST / 500000' })
  })

  it('curl over HTTP/1.1 reports a wrong password', async () => {
    await using web = await openWebServer()
    const answer = await curlThrough('wrong', ['-p', `${web.origin}/page`, '-w', '%{http_connect}'])
    expect(answer).toMatchObject({ code: 56, stdout: '407' })
  })
})

/** Says what it was asked. */
async function openWebServer(): Promise<AsyncDisposable & { origin: string }> {
  const server = createServer((request, response) => {
    readAll(request).then(
      (body) => response.end(`${request.method} ${request.url} ${body.length}`),
      () => response.destroy(),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

expectNothingLeftOpen()
