/**
 * How streams end over HTTP/3 for clients that notice an end only when both sides have ended, like the official one: it
 * leaves its own side open and waits for us to stop it. It used to wait 2 to 30 s after an answer, and two hours after
 * the end of a target. Stopping it takes a reset, which takes back what the client has not received yet; so the second
 * half is about paths that fail at that moment.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { ClientHttp3Stream } from '@currentspace/http3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H3Client, answerOf } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { findClosedPort } from '../support/closed-port.ts'
import { openTcpTarget } from '../support/targets.ts'
import { UdpRelay } from '../support/udp-relay.ts'

const MIB = 1024 * 1024
const AUTHORIZATION = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`
const AUTHENTICATED = { 'proxy-authorization': AUTHORIZATION }
const POST = { ':method': 'POST', ':scheme': 'https', ':authority': 'vpn.endpoint', ':path': '/' }
/** Well below the time a client used to wait, and well above the time it takes now. */
const PATIENCE = { timeout: 1500, interval: 10 }
/** Longer than the silence after which a client is stopped. */
const OUTAGE_MS = 7000

let endpoint: TestEndpoint

beforeAll(async () => {
  endpoint = await startEndpoint({ protocols: ['http1', 'quic'] })
})

afterAll(async () => {
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
})

interface Answer {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly content: Buffer
}

/** The whole answer; rejects when it is cut short. */
async function answerTo(stream: ClientHttp3Stream): Promise<Answer> {
  const chunks: Buffer[] = []
  // Listen from the beginning: this client throws away what nobody listens for.
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  const ended = once(stream, 'end')
  ended.catch(() => {})
  const { status, headers } = await answerOf(stream)
  await ended
  return { status, headers, content: Buffer.concat(chunks) }
}

/** STOP_SENDING has arrived: this client notices when it writes. */
async function expectStopped(stream: ClientHttp3Stream): Promise<void> {
  await expect.poll(() => stream.destroyed || !stream.write('x'), PATIENCE).toBe(true)
  expect(stream.destroyed).toBe(true)
}

describe('a complete answer stops the client', () => {
  let client: H3Client
  beforeAll(async () => {
    client = await H3Client.open(endpoint.port)
  })
  afterAll(() => client[Symbol.asyncDispose]())

  test.each([
    ['a target that refuses', 502, 'refused', AUTHENTICATED],
    ['a missing password', 407, 'example.com:443', {}],
    ['a health check that fails', 407, '_check', {}],
    ['a health check that succeeds', 200, '_check', AUTHENTICATED],
  ])('a complete answer stops the client after %s', async (_what, expected, authority, headers) => {
    const target = authority === 'refused' ? `127.0.0.1:${await findClosedPort()}` : authority
    const stream = client.connect(target, headers)
    const { status, content } = await answerTo(stream)
    expect(status).toBe(expected)
    expect(content).toHaveLength(0)
    await expectStopped(stream)
  })

  test('a complete answer that is a page stops a client that has not ended its request', async () => {
    const stream = client.request(POST)
    const { status, headers, content } = await answerTo(stream)
    expect(status).toBe(405)
    expect(content).toHaveLength(Number(headers['content-length']))
    await expectStopped(stream)
  })
})

describe('a target that ends', () => {
  test(
    'a target that ends is the end of a tunnel whose client has nothing more to say',
    { timeout: 60_000 },
    async () => {
      await using client = await H3Client.open(endpoint.port)
      await using target = await openTcpTarget((socket) => socket.end('bye'))
      const stream = client.connect(target.authority, AUTHENTICATED)
      const { content } = await answerTo(stream)
      expect(String(content)).toBe('bye')
      await expect.poll(() => target.sockets.size, { timeout: 20_000 }).toBe(0)
      await expectStopped(stream)
    },
  )

  test('a target that ends goes on hearing a client that speaks', { timeout: 60_000 }, async () => {
    await using client = await H3Client.open(endpoint.port)
    let heard = ''
    let socket: Socket | undefined
    await using target = await openTcpTarget((opened) => {
      socket = opened.end('bye')
      opened.on('data', (chunk) => (heard += String(chunk)))
    })
    const stream = client.connect(target.authority, AUTHENTICATED)
    await answerTo(stream)
    for (let said = 0; said < 4; said++) {
      await new Promise((resolve) => setTimeout(resolve, 2000))
      stream.write('word ')
    }
    stream.end('end')
    await once(socket as Socket, 'close')
    expect(heard).toBe('word word word word end')
  })
})

describe('nothing of an answer is lost', { timeout: 60_000 }, () => {
  let relay: UdpRelay
  let client: H3Client
  beforeAll(async () => {
    relay = await UdpRelay.open(endpoint.port, { delayMs: 5 })
    client = await H3Client.open(relay.port)
  })
  afterAll(async () => {
    await client[Symbol.asyncDispose]()
    await endpoint.waitUntilFree()
    await relay[Symbol.asyncDispose]()
  })

  /** Nothing reaches the client until then. */
  async function outage(): Promise<void> {
    relay.filter = (direction) => direction === 'up'
    await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS))
    relay.filter = undefined
  }

  test('nothing of an answer is lost when the path fails just before a refusal', async () => {
    relay.filter = (direction) => direction === 'up'
    const stream = client.connect('example.com:443')
    const answer = answerTo(stream)
    await outage()
    expect(await answer).toMatchObject({ status: 407 })
    await expectStopped(stream)
  })

  test('nothing of an answer is lost when the path fails while a target that has ended is read', async () => {
    // An amount that QUIC takes at once, so that the endpoint has nothing left to do.
    await using target = await openTcpTarget((socket) => socket.end(Buffer.alloc(MIB, 'culvert')))
    const stream = client.connect(target.authority, AUTHENTICATED)
    const answer = answerTo(stream)
    await once(stream, 'response')
    await outage()
    expect((await answer).content.equals(Buffer.alloc(MIB, 'culvert'))).toBe(true)
    await expect.poll(() => target.sockets.size, { timeout: 20_000 }).toBe(0)
    await expectStopped(stream)
  })

  test('nothing of an answer is lost when one datagram in ten is lost', async () => {
    let count = 0
    relay.filter = () => ++count % 10 > 0
    const answers = await Promise.all(Array.from({ length: 50 }, () => answerTo(client.request(POST))))
    relay.filter = undefined
    const missing = answers.map(({ headers, content }) => Number(headers['content-length']) - content.length)
    expect(missing).toEqual(answers.map(() => 0))
  })
})

expectNothingLeftOpen()
