/**
 * How tunnels over HTTP/3 end when one side leaves without saying so in full: a client that only says it will read
 * no more, and an endpoint that shuts down. The library tells us of STOP_SENDING when something is written, and it
 * has no GOAWAY of its own; docs/protocol.md says what follows from it.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { AUTHORIZED } from '../support/forward-client.ts'
import { H3Client, resetOf } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openTcpTarget } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'
import { UdpRelay } from '../support/udp-relay.ts'

const IDLE_SECS = 2
/** A little less than the window that the client gives a stream. */
const LARGE_BYTES = 1_800_000
/** Loopback would carry far larger datagrams, and nearly everything at once. */
const ETHERNET_PAYLOAD_BYTES = 1472
/** How long the path is interrupted. */
const OUTAGE_MS = 800

let endpoint: TestEndpoint

beforeAll(async () => {
  endpoint = await startEndpoint({
    protocols: ['http1', 'quic'],
    keys: `tcp_connections_timeout_secs = ${IDLE_SECS}`,
  })
})

afterAll(async () => {
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
})

/** A client that has ended its side and then says that it will read no more, which is STOP_SENDING alone. */
async function leave(client: H3Client, authority: string, socketEnd: Promise<unknown>): Promise<void> {
  const stream = client.connect(authority, AUTHORIZED)
  await once(stream, 'response')
  stream.end()
  await socketEnd
  stream.close(0x10c)
}

test('HTTP/3: a tunnel that is left with STOP_SENDING alone ends when its target speaks', async () => {
  await using client = await H3Client.open(endpoint.port)
  const { promise: ended, resolve } = Promise.withResolvers<Socket>()
  await using target = await openTcpTarget((socket) => {
    socket.resume().once('end', () => resolve(socket))
  })
  await leave(client, target.authority, ended)
  const socket = await ended
  await expect.poll(() => socket.destroyed || !socket.write('still here'), { timeout: 20_000 }).toBe(true)
})

test('HTTP/3: a tunnel that is left with STOP_SENDING alone ends at the idle limit', async () => {
  await using client = await H3Client.open(endpoint.port)
  const { promise: ended, resolve } = Promise.withResolvers<Socket>()
  await using target = await openTcpTarget((socket) => {
    socket.resume().once('end', () => resolve(socket))
  })
  await leave(client, target.authority, ended)
  const stats = await endpoint.waitForStats((now) => now.open_streams === 0 && now.outbound_tcp_sockets === 0)
  expect(stats['tunnels_ended{idle}']).toBe(1)
})

/** Lets the relay pass a part of a download and then nothing; resolves when that begins. */
function interrupt(relay: UdpRelay): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let passedBytes = 0
  relay.filter = (direction, { length }) => {
    if (length > ETHERNET_PAYLOAD_BYTES) return false
    if (direction === 'down') passedBytes += length
    if (passedBytes < LARGE_BYTES / 8) return true
    resolve()
    return false
  }
  return promise
}

/** Gives {@link LARGE_BYTES} and ends. */
function openGiver(): Promise<TcpTarget> {
  return openTcpTarget((socket) => void socket.resume().end(Buffer.alloc(LARGE_BYTES, 'culvert')))
}

/**
 * A shutdown used to look only at the streams that still had something to hand to the library, which holds megabytes
 * that the client does not have yet: it closed at once or half a second later, and the rest was lost. A path that is
 * interrupted for a moment shows it every time.
 */
describe('a shutdown waits for what is on its way', { timeout: 45_000 }, () => {
  test('HTTP/3: a shutdown after the end of a download lets the client receive all of it', async () => {
    await using draining = await startEndpoint({ protocols: ['http1', 'quic'] })
    await using relay = await UdpRelay.open(draining.port, { delayMs: 60 })
    const interrupted = interrupt(relay)
    await using client = await H3Client.open(relay.port, { runtimeMode: 'portable' })
    await using giver = await openGiver()
    const { stream } = await client.tunnel(giver.authority, AUTHORIZED)
    stream.end()
    let bytes = 0
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length))
    await interrupted
    await draining.waitForStats((now) => now.open_streams === 0)
    const closed = draining.supervisor.close({ graceMs: 30_000 })
    await setTimeout(OUTAGE_MS)
    expect(bytes).toBeLessThan(LARGE_BYTES)
    relay.filter = undefined
    expect((await client.closed).errorCode).toBe(0x100)
    expect(bytes).toBe(LARGE_BYTES)
    await closed
  })

  test('HTTP/3: a shutdown waits no longer than its grace for a client that has gone silent', async () => {
    await using draining = await startEndpoint({ protocols: ['http1', 'quic'] })
    await using relay = await UdpRelay.open(draining.port, { delayMs: 20 })
    await using client = await H3Client.open(relay.port, { runtimeMode: 'portable' })
    await using giver = await openGiver()
    const { stream } = await client.tunnel(giver.authority, AUTHORIZED)
    stream.resume()
    await once(stream, 'data')
    let told = false
    void client.closed.then(() => (told = true))
    relay.filter = () => false
    await draining.supervisor.close({ graceMs: 1000 })
    expect(told).toBe(false)
  })
})

/** 0x10B (H3_REQUEST_REJECTED) and the like; undefined when it is answered. */
async function codeOf(stream: ReturnType<H3Client['connect']>): Promise<number | undefined> {
  const code = resetOf(stream)
  stream.end()
  stream.resume()
  return code
}

test('HTTP/3: a shutdown lets a tunnel finish, rejects new ones, then closes with H3_NO_ERROR', async () => {
  await using draining = await startEndpoint({ protocols: ['http1', 'quic'] })
  await using client = await H3Client.open(draining.port)
  await using target = await openTcpTarget((socket) => void socket.once('data', () => socket.end('done')))
  const stream = client.connect(target.authority, AUTHORIZED)
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(stream, 'response')
  const closed = draining.supervisor.close({ graceMs: 20_000 })
  // No GOAWAY: the client learns it by asking.
  await expect.poll(() => codeOf(client.connect('_check', AUTHORIZED)), { timeout: 20_000 }).toBe(0x10b)
  stream.end('go')
  await once(stream, 'end')
  expect(String(Buffer.concat(chunks))).toBe('done')
  expect((await client.closed).errorCode).toBe(0x100)
  await closed
})

expectNothingLeftOpen()
