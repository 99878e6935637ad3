/**
 * Facts about `@currentspace/http3` that src/transport/http3/native.ts relies on and that the package's documentation
 * does not promise. When this fails after an update, read docs/decisions/002-http3-package.md before anything else.
 */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HTTP3_PACKAGE } from '../../src/transport/http3/native.ts'
import { MAX_PIECE_BYTES } from '../../src/transport/http3/send-window.ts'
import { testCertificate } from '../support/certificate.ts'
import { H3Client } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

interface Event {
  eventType: number
  connHandle: number
  streamId: number
  headers?: { name: string; value: string }[]
  data?: Buffer
  fin?: boolean
  meta?: Record<string, unknown>
}
interface Server {
  listen(port: number, host: string): { port: number }
  sendResponseHeaders(session: number, stream: number, fields: object[], fin: boolean): boolean
  streamSend(session: number, stream: number, data: Buffer, fin: boolean): { status: number; written: number }
  streamClose(session: number, stream: number, code: number): boolean
  getSessionMetrics(session: number): { bytesOut: number; rttMs: number }
  pingSession(session: number): boolean
  ackEventBatch(count: number): void
  requestShutdown(): boolean
  joinWorker(): void
}
type OnEvents = (error: Error | null, events: Event[]) => void
interface Binding {
  NativeWorkerServer: new (options: object, onEvents: OnEvents) => Server
  version(): string
  runtimeTelemetry(): Record<string, number>
}

const require = createRequire(import.meta.url)
const root = dirname(dirname(require.resolve(HTTP3_PACKAGE)))
const binding = require(join(root, 'index.js')) as Binding
const ownPackage = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  dependencies: Record<string, string>
}

describe('package', () => {
  test('the pinned package is the version that was read, pinned exactly', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    expect(version).toBe('0.9.0')
    expect(ownPackage.dependencies[HTTP3_PACKAGE]).toBe('0.9.0')
  })

  test('the pinned package exports the native server with the methods that are called', () => {
    for (const name of [
      'listen',
      'sendResponseHeaders',
      'streamSend',
      'streamClose',
      'closeSession',
      'getSessionMetrics',
      'pingSession',
      'ackEventBatch',
      'requestShutdown',
      'joinWorker',
    ]) {
      expect(binding.NativeWorkerServer.prototype).toHaveProperty(name)
    }
    expect(binding.runtimeTelemetry()).toMatchObject({
      outboundPendingWriteBytes: 0,
    })
  })

  test('the pinned package words its failures as the fallback and the retry expect', () => {
    const { cert, key } = testCertificate()
    const open = (host: string): unknown =>
      new binding.NativeWorkerServer({ cert: Buffer.from(cert), key: Buffer.from(key) }, () => {}).listen(
        0,
        host,
      )
    // RFC 5737: an address that is never ours.
    expect(() => open('192.0.2.1')).toThrow(/errno=99\b/u)
  })
})

/** Between one client and the server, to see how large the server's datagrams are. */
class DatagramRelay implements Disposable {
  readonly #front: Socket = createSocket('udp4')
  readonly #back: Socket = createSocket('udp4')
  largest = 0
  /** Loses everything that the server sends. */
  held = false

  async open(serverPort: number): Promise<number> {
    let clientPort = 0
    this.#front.on('message', (datagram, { port }) => {
      clientPort = port
      this.#back.send(datagram, serverPort, '127.0.0.1')
    })
    this.#back.on('message', (datagram) => {
      if (this.held) return
      this.largest = Math.max(this.largest, datagram.length)
      this.#front.send(datagram, clientPort, '127.0.0.1')
    })
    this.#front.bind(0, '127.0.0.1')
    await once(this.#front, 'listening')
    return this.#front.address().port
  }

  [Symbol.dispose](): void {
    this.#front.close()
    this.#back.close()
  }
}

describe('events', () => {
  const events: Event[] = []
  const batches: Event[][] = []
  let wake: (() => void) | undefined
  let server: Server
  let client: H3Client
  const relay = new DatagramRelay()

  /** The first event for which `holds`, waiting for it. */
  async function event(holds: (event: Event) => boolean): Promise<Event> {
    for (;;) {
      const found = events.find(holds)
      if (found) return found
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }

  async function accepted(
    authority: string,
  ): Promise<{ session: number; stream: number; client: ReturnType<H3Client['connect']> }> {
    const exchange = client.connect(authority)
    const head = await event((seen) => seen.headers?.some(({ value }) => value === authority) ?? false)
    server.sendResponseHeaders(head.connHandle, head.streamId, [{ name: ':status', value: '200' }], false)
    return { session: head.connHandle, stream: head.streamId, client: exchange }
  }

  beforeAll(async () => {
    const { cert, key } = testCertificate()
    server = new binding.NativeWorkerServer(
      {
        cert: Buffer.from(cert),
        key: Buffer.from(key),
        runtimeMode: 'portable',
        reusePort: true,
        maxUdpPayloadSize: 1250,
      },
      (_error, batch) => {
        events.push(...batch)
        batches.push(batch)
        server.ackEventBatch(batch.length)
        wake?.()
      },
    )
    const { port } = server.listen(0, '127.0.0.1')
    client = await H3Client.open(await relay.open(port))
  })

  afterAll(async () => {
    await client[Symbol.asyncDispose]()
    relay[Symbol.dispose]()
    server.requestShutdown()
    await event(({ eventType }) => eventType === 15)
    server.joinWorker()
    const { workerThreadSpawnsTotal, workerThreadStopsTotal } = binding.runtimeTelemetry()
    expect(workerThreadStopsTotal).toBe(workerThreadSpawnsTotal)
  })

  test('events 1 and 11 tell a session, 3 a request with its first content, 4 content, 5 the end', async () => {
    const start = await event(({ eventType }) => eventType === 1)
    expect(start.meta).toMatchObject({ remoteAddr: '127.0.0.1', serverName: '' })
    await event(({ eventType, connHandle }) => eventType === 11 && connHandle === start.connHandle)
    const tunnel = await accepted('content:1')
    tunnel.client.end('abc')
    await event(({ eventType, streamId }) => eventType === 5 && streamId === tunnel.stream)
    const bytes = events
      .filter(({ streamId }) => streamId === tunnel.stream)
      .map(({ data }) => data ?? Buffer.alloc(0))
    expect(String(Buffer.concat(bytes))).toBe('abc')
    server.streamSend(tunnel.session, tunnel.stream, Buffer.alloc(0), true)
  })

  test('event 6 tells the code of a reset', async () => {
    const tunnel = await accepted('reset:1')
    tunnel.client.close(0x10c)
    const reset = await event(({ eventType, streamId }) => eventType === 6 && streamId === tunnel.stream)
    expect(reset.meta?.errorCode).toBe(0x10c)
  })

  test('event 10 answers a send to a stream that cannot exist, in order', async () => {
    const tunnel = await accepted('mark:1')
    server.streamSend(tunnel.session, tunnel.stream + 1, Buffer.alloc(1), false)
    await event(({ eventType, streamId }) => eventType === 10 && streamId === tunnel.stream + 1)
    // And does no harm.
    server.streamSend(tunnel.session, tunnel.stream, Buffer.from('alive'), true)
    const [chunk] = (await new Promise((resolve) =>
      tunnel.client.once('data', (...data) => resolve(data)),
    )) as [Buffer]
    expect(String(chunk)).toBe('alive')
    tunnel.client.end()
  })

  test('event 17 tells once per ping, after the client has acknowledged what was sent before', async () => {
    const tunnel = await accepted('ping:1')
    const answers = (): number =>
      events.filter(({ eventType, connHandle }) => eventType === 17 && connHandle === tunnel.session).length
    for (let count = 1; count <= 3; count++) {
      relay.held = true
      expect(server.pingSession(tunnel.session)).toBe(true)
      await setTimeout(50)
      expect(answers()).toBe(count - 1)
      relay.held = false
      await expect.poll(answers, { timeout: 10_000 }).toBe(count)
    }
    server.streamSend(tunnel.session, tunnel.stream, Buffer.alloc(0), true)
    tunnel.client.end()
  })

  test('metrics count every byte sent and give the round trip; they throw for a session that does not exist', async () => {
    const tunnel = await accepted('metrics:1')
    tunnel.client.resume()
    const before = server.getSessionMetrics(tunnel.session)
    expect(before.rttMs).toBeGreaterThanOrEqual(0)
    const sent = 8 * MAX_PIECE_BYTES
    for (let piece = 0; piece < 8; piece++) {
      server.streamSend(tunnel.session, tunnel.stream, Buffer.alloc(MAX_PIECE_BYTES), piece === 7)
    }
    tunnel.client.end()
    await expect
      .poll(() => server.getSessionMetrics(tunnel.session).bytesOut - before.bytesOut, { timeout: 10_000 })
      .toBeGreaterThan(sent)
    expect(() => server.getSessionMetrics(999_999)).toThrow()
  })

  test('event 16 tells that a stream is blocked; two events 8 in one batch that nothing is left', async () => {
    const tunnel = await accepted('window:1')
    tunnel.client.resume()
    const before = batches.length
    const piece = Buffer.alloc(MAX_PIECE_BYTES)
    const isBlocked = ({ eventType, streamId }: Event): boolean =>
      eventType === 16 && streamId === tunnel.stream
    for (let turn = 0; turn < 2000 && !events.some(isBlocked); turn++) {
      for (let more = 0; more < 32; more++) server.streamSend(tunnel.session, tunnel.stream, piece, false)
      await new Promise(setImmediate)
    }
    await event(isBlocked)
    const drainsOf = (batch: Event[]): number =>
      batch.filter(({ eventType, streamId }) => eventType === 8 && streamId === tunnel.stream).length
    await expect.poll(() => Math.max(...batches.slice(before).map(drainsOf)), { timeout: 10_000 }).toBe(2)
    server.streamClose(tunnel.session, tunnel.stream, 0x100)
  })

  test('datagrams grow as far as the path takes them, whatever maxUdpPayloadSize says', () => {
    expect(relay.largest).toBeGreaterThan(1250)
  })

  test('a send of one byte less than four-byte lengths is admitted, and refused with status 1 beyond 4 MiB', async () => {
    const tunnel = await accepted('admission:1')
    const status = (): number =>
      server.streamSend(tunnel.session, tunnel.stream, Buffer.alloc(MAX_PIECE_BYTES), false).status
    // Without a turn of the event loop in between: more than 4 MiB at once is too much.
    let admitted = 0
    while (admitted < 64 * 1024 * 1024 && status() === 0) admitted += MAX_PIECE_BYTES
    expect(admitted).toBeLessThan(64 * 1024 * 1024)
    expect(admitted).toBeGreaterThan(1024 * 1024)
    server.streamClose(tunnel.session, tunnel.stream, 0x100)
  })
})

expectNothingLeftOpen()
