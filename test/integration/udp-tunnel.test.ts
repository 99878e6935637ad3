/** `_udp2` over HTTP/2 through the whole endpoint (specification 6). */
import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import http2 from 'node:http2'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { encodeAddressing } from '../../src/wire/udp-frame.ts'
import { findClosedPort } from '../support/closed-port.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { frame } from '../support/http2-frames.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { countSockets } from '../support/open-descriptors.ts'
import { RawHttp2, connectFrame } from '../support/raw-http2.ts'
import { openUdpEcho } from '../support/targets.ts'
import type { UdpTarget } from '../support/targets.ts'
import { SOURCE, UdpClient, udpFrame } from '../support/udp-client.ts'

const ADDRESSING = encodeAddressing(SOURCE, { address: '192.0.2.1', port: 9 })
const NOWHERE = { address: '0.0.0.0', port: 0 }
const isRoot = process.getuid?.() === 0

let endpoint: TestEndpoint
let client: H2Client
let echo: UdpTarget
let target: { address: string; port: number }

function use(
  options: Parameters<typeof startEndpoint>[0],
  echoOptions: Parameters<typeof openUdpEcho>[0] = {},
) {
  let socketsBefore: number
  beforeAll(async () => {
    echo = await openUdpEcho(echoOptions)
    target = { address: echoOptions.host ?? '127.0.0.1', port: echo.port }
    endpoint = await startEndpoint(options)
  })
  beforeEach(async () => {
    await endpoint.waitUntilFree()
    socketsBefore = countSockets()
    client = await H2Client.open({ port: endpoint.port, ...USER })
  })
  afterEach(async () => {
    await client[Symbol.asyncDispose]()
    await endpoint.waitUntilFree()
    await expect.poll(countSockets, { timeout: 10_000 }).toBe(socketsBefore)
  })
  afterAll(async () => {
    await endpoint[Symbol.asyncDispose]()
    await echo[Symbol.asyncDispose]()
  })
}

/** How much a counter has grown since then. */
async function counterFrom(name: string): Promise<() => Promise<number>> {
  const read = async (): Promise<number> => (await endpoint.supervisor.stats())[name] ?? 0
  const before = await read()
  return async () => (await read()) - before
}

describe('datagrams', () => {
  use({})

  it.each([0, 1, 2, 512, 1200, 1472, 1473, 9000, 16_384, 32_768, 65_507])(
    'datagrams of %d bytes come back as they were',
    async (size) => {
      const udp = await UdpClient.open(client)
      const payload = randomBytes(size)
      const reply = await udp.ask(target, payload)
      expect(reply.payload.equals(payload)).toBe(true)
      expect(reply).toMatchObject({ source: target, destination: SOURCE })
    },
  )

  it('datagrams arrive one by one when frames are split anywhere', async () => {
    const udp = await UdpClient.open(client)
    const payloads = ['a', 'bc', '', 'x'.repeat(300), 'last']
    const frames = Buffer.concat(payloads.map((payload) => udpFrame(target, payload, { appName: 'äpp' })))
    for (const pieceBytes of [1, 3, 39, 43, 97]) {
      for (let at = 0; at < frames.length; at += pieceBytes) {
        udp.stream.write(frames.subarray(at, at + pieceBytes))
        await turn()
      }
      const replies = []
      for (const _ of payloads) replies.push((await udp.next()).payload.toString())
      expect(replies.toSorted()).toEqual(payloads.toSorted())
    }
  })

  it('datagrams that came before the 200 are kept', async () => {
    await using raw = await RawHttp2.open(endpoint.port)
    const datagrams = Buffer.concat([udpFrame(target, 'first'), udpFrame(target, 'second')])
    raw.send(connectFrame(1, '_udp2'), frame('DATA', { stream: 1, payload: datagrams }))
    const arrived = (): number =>
      raw.frames.filter(({ name }) => name === 'DATA').reduce((sum, { payload }) => sum + payload.length, 0)
    await raw.frame(() => arrived() === 2 * 40 + 'firstsecond'.length)
  })

  it('datagrams of one byte come back as one DATA frame of 41 bytes each', async () => {
    await using raw = await RawHttp2.open(endpoint.port)
    raw.send(connectFrame(1, '_udp2'))
    await raw.frame(({ name, stream }) => name === 'HEADERS' && stream === 1)
    raw.send(frame('DATA', { stream: 1, payload: udpFrame(target, 'x') }))
    const { payload, flags } = await raw.frame(({ name }) => name === 'DATA')
    expect([payload.length, flags, payload.toString('latin1').at(-1)]).toEqual([41, 0, 'x'])
  })

  it('datagrams go from and back to 0.0.0.0:0', async () => {
    const udp = await UdpClient.open(client)
    const reply = await udp.ask(target, 'x', { source: NOWHERE })
    expect(reply.destination).toMatchObject(NOWHERE)
  })

  it('datagrams of two sources do not mix', async () => {
    const udp = await UdpClient.open(client)
    for (const port of [1, 2, 3, 1, 2, 3]) {
      const source = { address: '10.0.0.9', port }
      const reply = await udp.ask(target, `from ${port}`, { source })
      expect(reply.destination).toMatchObject(source)
      expect(reply.payload.toString()).toBe(`from ${port}`)
    }
  })

  it('datagrams of several streams of one session do not mix, the source being the same', async () => {
    const streams = await Promise.all(Array.from({ length: 5 }, () => UdpClient.open(client)))
    const replies = await Promise.all(
      streams.map((udp, index) => udp.ask(target, `stream ${index}`, { source: NOWHERE })),
    )
    expect(replies.map(({ payload }) => payload.toString())).toEqual(
      streams.map((_, index) => `stream ${index}`),
    )
    expect(streams.map(({ replies: all }) => all.length)).toEqual([1, 1, 1, 1, 1])
  })

  it('datagrams pass through _udp2:0 as well', async () => {
    const udp = await UdpClient.open(client, '_udp2:0')
    expect((await udp.ask(target, 'alias')).payload.toString()).toBe('alias')
  })

  it('datagrams still come after the client has reset another stream', async () => {
    const [udp, other] = [await UdpClient.open(client), await UdpClient.open(client)]
    await other.ask(target, 'x')
    other.stream.close(http2.constants.NGHTTP2_CANCEL)
    expect((await udp.ask(target, 'y')).payload.toString()).toBe('y')
  })
})

describe('IPv6', () => {
  use({}, { host: '::1' })

  it('the destination ::1 stays IPv6', async () => {
    const udp = await UdpClient.open(client)
    const source = { address: 'fd00::2', port: 7 }
    const reply = await udp.ask(target, 'six', { source })
    expect(reply.source).toEqual({ address: '::1', family: 6, port: target.port })
    expect(reply.destination).toMatchObject(source)
  })
})

function lengthPrefixed(...body: Buffer[]): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.reduce((sum, part) => sum + part.length, 0))
  return Buffer.concat([length, ...body])
}

describe('what is wrong with a frame', () => {
  use({})

  it.each([
    ['too_short', () => lengthPrefixed(ADDRESSING)],
    ['too_short', () => lengthPrefixed(Buffer.alloc(0))],
    ['app_name_overrun', () => lengthPrefixed(ADDRESSING, Buffer.from([9, 65]))],
    ['payload_too_long', () => lengthPrefixed(ADDRESSING, Buffer.alloc(65_600))],
  ])('a frame with %s costs that frame only', async (reason, malformed) => {
    const drops = await counterFrom(`udp_drops{${reason}}`)
    const udp = await UdpClient.open(client)
    udp.stream.write(Buffer.concat([udpFrame(target, 'before'), malformed(), udpFrame(target, 'after')]))
    expect((await udp.next()).payload.toString()).toBe('before')
    expect((await udp.next()).payload.toString()).toBe('after')
    expect(await drops()).toBe(1)
  })

  it('an app name that is not UTF-8 costs nothing', async () => {
    const udp = await UdpClient.open(client)
    const addressing = encodeAddressing(SOURCE, target)
    udp.stream.write(lengthPrefixed(addressing, Buffer.from([2, 0xc3, 0x28]), Buffer.from('named')))
    expect((await udp.next()).payload.toString()).toBe('named')
  })

  it('a length that cannot be costs the stream only', async () => {
    const [udp, other] = [await UdpClient.open(client), await UdpClient.open(client)]
    const closed = new Promise((resolve) => udp.stream.once('close', resolve))
    udp.stream.write(Buffer.concat([udpFrame(target, 'x'), Buffer.alloc(4, 0xff)]))
    await closed
    expect(udp.stream.rstCode).toBe(http2.constants.NGHTTP2_CANCEL)
    expect((await other.ask(target, 'y')).payload.toString()).toBe('y')
  })
})

describe('what is wrong with a destination', () => {
  use({})

  it('a port on which nobody listens costs that flow only', async () => {
    const closedPort = { address: '127.0.0.1', port: await findClosedPort() }
    const failed = await counterFrom('udp_flows_ended{error}')
    const udp = await UdpClient.open(client)
    await udp.ask(target, 'x')
    udp.send(closedPort, 'nobody')
    await expect.poll(failed, { timeout: 10_000 }).toBe(1)
    expect((await udp.ask(target, 'still here')).payload.toString()).toBe('still here')
    // And again: the next datagram starts a new flow.
    udp.send(closedPort, 'nobody')
    await expect.poll(failed, { timeout: 10_000 }).toBe(2)
  })

  it.each([
    { address: '224.0.0.1', port: 9 },
    { address: '255.255.255.255', port: 9 },
    { address: '127.0.0.1', port: 0 },
  ])('a datagram to $address port $port is dropped', async (destination) => {
    const udp = await UdpClient.open(client)
    udp.send(destination, 'x')
    udp.send(destination, 'y')
    expect((await udp.ask(target, 'still here')).payload.toString()).toBe('still here')
    expect(udp.replies.length).toBe(1)
  })
})

describe('flows', () => {
  use({ keys: 'udp_connections_timeout_secs = 1' })

  it('UDP flows end when they are idle, with their sockets, and begin anew', async () => {
    const idle = await counterFrom('udp_flows_ended{idle}')
    const sockets = countSockets()
    const udp = await UdpClient.open(client)
    for (let port = 1; port <= 50; port++) await udp.ask(target, 'x', { source: { ...SOURCE, port } })
    expect(countSockets()).toBe(sockets + 50)
    await expect.poll(idle, { timeout: 10_000 }).toBe(50)
    await expect.poll(countSockets).toBe(sockets)
    expect((await udp.ask(target, 'again')).payload.toString()).toBe('again')
  })

  it('UDP flows end with the client that vanishes', async () => {
    const udp = await UdpClient.open(client)
    for (let port = 1; port <= 20; port++) await udp.ask(target, 'x', { source: { ...SOURCE, port } })
    client.session.destroy()
    const stats = await endpoint.waitUntilFree()
    expect(stats['udp_flows_ended{stream_ended}']).toBeGreaterThanOrEqual(20)
  })
})

describe.skipIf(!isRoot)(`DNS${isRoot ? '' : ' (skipped: needs root for port 53)'}`, () => {
  // An address of the loopback network on which no resolver listens.
  use({}, { host: '127.53.53.53', port: 53 })

  it('DNS flows end some seconds after their last answer', async () => {
    const answered = await counterFrom('udp_flows_ended{answered}')
    const udp = await UdpClient.open(client)
    udp.stream.write(Buffer.concat([udpFrame(target, 'A?'), udpFrame(target, 'AAAA?')]))
    await udp.next()
    await udp.next()
    expect((await endpoint.supervisor.stats())['outbound_udp_sockets']).toBe(1)
    await endpoint.waitForStats((stats) => stats['outbound_udp_sockets'] === 0)
    expect(await answered()).toBe(1)
    expect((await udp.ask(target, 'MX?')).payload.toString()).toBe('MX?')
  })
})

describe('blocked destinations', () => {
  // The port is known only when the echo runs; an exemption for it saves opening the whole network.
  it('datagrams to blocked destinations are dropped and counted while the stream lives', async () => {
    await using open = await openUdpEcho()
    await using closed = await openUdpEcho()
    await using guarded = await startEndpoint({
      allowPrivate: false,
      tables: `[culvert.egress]\nallow = ["127.0.0.1:${open.port}"]`,
    })
    await using user = await H2Client.open({ port: guarded.port, ...USER })
    const udp = await UdpClient.open(user)
    for (let round = 1; round <= 3; round++) {
      udp.send({ address: '127.0.0.1', port: closed.port }, 'no')
      udp.send({ address: '10.1.2.3', port: 9 }, 'no')
      const reply = await udp.ask({ address: '127.0.0.1', port: open.port }, 'yes')
      expect(reply.payload.toString()).toBe('yes')
      const stats = await guarded.supervisor.stats()
      expect(stats).toMatchObject({
        'udp_drops{target_loopback}': round,
        'udp_drops{target_private}': round,
        outbound_udp_sockets: 1,
      })
    }
    expect(closed.received).toEqual([])
    await user[Symbol.asyncDispose]()
    await guarded.waitUntilFree()
  })
})

expectNothingLeftOpen()
