/** `_icmp` over every HTTP version through the whole endpoint (specification 7). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeIcmpRequest, ICMP_REPLY_BYTES, IcmpReplyDecoder } from '../../src/wire/icmp-frame.ts'
import type { IcmpReply, IcmpRequest } from '../../src/wire/icmp-frame.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'
import { TUNNEL_CLIENTS } from '../support/tunnel-client.ts'

const isRoot = process.getuid?.() === 0

async function openPinger(client: H2Client, authority = '_icmp') {
  const { status, stream } = await client.connect(authority)
  expect(status).toBe(200)
  const replies: IcmpReply[] = []
  const decoder = new IcmpReplyDecoder()
  stream.on('data', (chunk: Buffer) => replies.push(...decoder.push(chunk)))
  const ping = (request: Partial<IcmpRequest>): void =>
    void stream.write(
      encodeIcmpRequest({ id: 7, destination: '127.0.0.1', sequence: 1, ttl: 64, dataSize: 56, ...request }),
    )
  return { stream, replies, ping }
}

describe.skipIf(!isRoot)(`ICMP${isRoot ? '' : ' (skipped: needs root for CAP_NET_RAW)'}`, () => {
  let endpoint: TestEndpoint
  beforeAll(async () => {
    endpoint = await startEndpoint({
      protocols: ['http1', 'http2', 'quic'],
      tables: '[icmp]\nrequest_timeout_secs = 1\n',
    })
  })
  afterAll(async () => {
    await endpoint.waitUntilFree()
    await endpoint.waitForStats((stats) => stats['icmp_pending'] === 0)
    await endpoint[Symbol.asyncDispose]()
  })

  const openClient = () => H2Client.open({ port: endpoint.port, ...USER })

  it.each([
    ['127.0.0.1', 0],
    ['::1', 129],
  ])('an ICMP tunnel brings the answer of %s with type %d', async (destination, type) => {
    await using client = await openClient()
    const { replies, ping } = await openPinger(client)
    const sizes = [0, 1, 56, 1472, 20_000]
    for (const [sequence, dataSize] of sizes.entries()) ping({ id: 0xabcd, destination, sequence, dataSize })
    await expect.poll(() => replies.length, { timeout: 10_000 }).toBe(sizes.length)
    const family = destination === '::1' ? 6 : 4
    expect(replies.toSorted((a, b) => a.sequence - b.sequence)).toEqual(
      sizes.map((_, sequence) => ({ id: 0xabcd, source: destination, family, type, code: 0, sequence })),
    )
  })

  it.each(TUNNEL_CLIENTS)('an ICMP tunnel answers over $protocol', async ({ protocol, openTunnel }) => {
    await using tunnel = await openTunnel(endpoint.port, '_icmp')
    expect(tunnel.status).toBe(200)
    const replies: IcmpReply[] = []
    const decoder = new IcmpReplyDecoder()
    tunnel.stream.on('data', (chunk: Buffer) => replies.push(...decoder.push(chunk)))
    for (const destination of ['127.0.0.1', '::1']) {
      for (let sequence = 0; sequence < 20; sequence++) {
        tunnel.stream.write(encodeIcmpRequest({ id: 3, destination, sequence, ttl: 64, dataSize: 56 }))
      }
    }
    await expect.poll(() => replies.length, { timeout: 10_000 }).toBe(40)
    const of = (family: 4 | 6) => replies.filter((reply) => reply.family === family)
    expect([of(4).length, of(6).length]).toEqual([20, 20])
    expect(new Set(of(4).map(({ type }) => type))).toEqual(new Set([0]))
    expect(new Set(of(6).map(({ type }) => type))).toEqual(new Set([129]))
    const ended = new Promise((resolve) => tunnel.stream.once('end', resolve))
    tunnel.stream.end()
    await ended
    await endpoint.waitForStats((stats) => (stats[`client_sessions{${protocol}}`] ?? 0) <= 1)
  })

  it('an ICMP tunnel to _icmp:0 is the same, and requests may be split anywhere', async () => {
    await using client = await openClient()
    const { stream, replies } = await openPinger(client, '_icmp:0')
    const request = encodeIcmpRequest({ id: 1, destination: '127.0.0.1', sequence: 2, ttl: 64, dataSize: 8 })
    for (const byte of request) {
      stream.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await expect.poll(() => replies.length, { timeout: 10_000 }).toBe(1)
  })

  it('an ICMP tunnel gives two clients with the same id and sequence one answer each', async () => {
    const clients = await Promise.all([openClient(), openClient()])
    const pingers = await Promise.all(clients.map((client) => openPinger(client)))
    for (let sequence = 0; sequence < 100; sequence++) for (const { ping } of pingers) ping({ sequence })
    for (const { replies } of pingers) {
      await expect.poll(() => replies.length, { timeout: 10_000 }).toBe(100)
      expect(replies.map(({ sequence }) => sequence).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 100 }, (_, sequence) => sequence),
      )
    }
    for (const client of clients) await client[Symbol.asyncDispose]()
  })

  it('an ICMP tunnel stays silent about what cannot be asked, and goes on', async () => {
    await using client = await openClient()
    const { replies, ping } = await openPinger(client)
    ping({ destination: '224.0.0.1', sequence: 1 })
    ping({ destination: '255.255.255.255', sequence: 2 })
    ping({ ttl: 0, sequence: 3 })
    ping({ sequence: 4 })
    await expect.poll(() => replies.length, { timeout: 10_000 }).toBe(1)
    expect(replies[0]?.sequence).toBe(4)
    const stats = await endpoint.supervisor.stats()
    expect(stats).toMatchObject({ 'icmp_drops{target_private}': 2, 'icmp_drops{ttl}': 1 })
  })

  it('an ICMP tunnel ends its side after the client', async () => {
    await using client = await openClient()
    const { status, stream } = await client.connect('_icmp')
    expect(status).toBe(200)
    stream.end()
    expect((await readAll(stream)).length % ICMP_REPLY_BYTES).toBe(0)
  })
})

describe('without [icmp]', () => {
  it.each(TUNNEL_CLIENTS)(
    'without [icmp] its tunnel is refused with 501 over $protocol',
    async ({ openTunnel }) => {
      await using endpoint = await startEndpoint({ protocols: ['http1', 'http2', 'quic'] })
      await using tunnel = await openTunnel(endpoint.port, '_icmp')
      expect(tunnel.status).toBe(501)
    },
  )
})

expectNothingLeftOpen()
