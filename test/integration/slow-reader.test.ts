/** Sides that read slowly or not at all: bounded memory, nothing lost, nobody else held up. */
import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { EndpointProcess } from '../support/endpoint-process.ts'
import { H2Client } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hashOf, hashOfPattern, patternedBytes, sendPattern, standstill } from '../support/patterned-bytes.ts'
import { readAll } from '../support/reading.ts'
import { openEcho, openRequestResponder, openTcpTarget } from '../support/targets.ts'

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB
/** What all stages together may hold of one stream: two socket buffers of the kernel, the windows, our own buffers. */
const HELD_LIMIT_BYTES = 48 * MIB
/** How much the process may grow while nobody reads, including garbage of the engine. */
const GROWTH_LIMIT_MIB = 128
/** More than all stages together hold, so that it arrives only once everything flows again. */
const CONTENT_BYTES = 64 * MIB

describe('an endpoint process', () => {
  let endpoint: EndpointProcess
  let client: H2Client
  let socketsBefore: number
  beforeAll(async () => {
    endpoint = await EndpointProcess.start()
    socketsBefore = await endpoint.sockets()
    client = await H2Client.open({ port: endpoint.port, ...USER })
    // Code and pools that any first tunnel loads do not count as growth.
    await using echo = await openEcho()
    const { stream } = await client.connect(echo.authority)
    sendPattern(stream, 16 * MIB)
    await hashOf(stream)
  })
  afterAll(async () => {
    await client[Symbol.asyncDispose]()
    await vi.waitFor(async () => expect(await endpoint.sockets()).toBe(socketsBefore), { timeout: 10_000 })
    await endpoint[Symbol.asyncDispose]()
  })

  async function expectBounded(before: { now: number }): Promise<void> {
    const { peak } = await endpoint.memory()
    expect(peak - before.now).toBeLessThan(GROWTH_LIMIT_MIB)
  }

  it('an endpoint holds little of 1 GiB for a client that does not read', async () => {
    await using target = await openTcpTarget((socket) => void sendPattern(socket, GIB))
    const before = await endpoint.memory()
    const arrival = target.nextSocket()
    const { stream } = await client.connect(target.authority)
    const socket = await arrival
    const held = await standstill(() => socket.bytesWritten - socket.writableLength)
    expect(held).toBeGreaterThan(128 * KIB)
    expect(held).toBeLessThan(HELD_LIMIT_BYTES)
    await expectBounded(before)
    stream.destroy()
  })

  it('an endpoint carries 1 GiB to a client that reads slowly', { timeout: 120_000 }, async () => {
    const chunk = patternedBytes(0, MIB)
    await using target = await openTcpTarget((socket) => sendRepeated(socket, chunk, GIB / MIB))
    const before = await endpoint.memory()
    const { stream } = await client.connect(target.authority)
    expect(await readWithPauses(stream, 4 * MIB)).toBe(GIB)
    await expectBounded(before)
  })

  it('an endpoint delivers everything to a client that reads late', async () => {
    await using target = await openTcpTarget((socket) => void sendPattern(socket, CONTENT_BYTES))
    const arrival = target.nextSocket()
    const { stream } = await client.connect(target.authority)
    const socket = await arrival
    await standstill(() => socket.bytesWritten)
    expect(await hashOf(stream)).toEqual({ bytes: CONTENT_BYTES, hash: hashOfPattern(CONTENT_BYTES) })
  })

  it('an endpoint holds little for a target that does not read, and delivers it in the end', async () => {
    await using target = await openTcpTarget((socket) => void socket.pause())
    const before = await endpoint.memory()
    const arrival = target.nextSocket()
    const { stream } = await client.connect(target.authority)
    const socket = await arrival
    const sending = sendPattern(stream, CONTENT_BYTES)
    const held = await standstill(() => sending.taken)
    expect(held).toBeLessThan(HELD_LIMIT_BYTES)
    await expectBounded(before)
    expect(await hashOf(socket)).toEqual({ bytes: CONTENT_BYTES, hash: hashOfPattern(CONTENT_BYTES) })
    socket.end()
    await readAll(stream)
  })

  it('an endpoint stands still in both directions at once, and goes on in both', async () => {
    await using target = await openTcpTarget((socket) => void socket.pause())
    const before = await endpoint.memory()
    const arrival = target.nextSocket()
    const { stream } = await client.connect(target.authority)
    const socket = await arrival
    const sendings = [sendPattern(stream, CONTENT_BYTES), sendPattern(socket, CONTENT_BYTES)]
    const held = await standstill(() => sendings.reduce((sum, { taken }) => sum + taken, 0))
    expect(held).toBeLessThan(2 * HELD_LIMIT_BYTES)
    await expectBounded(before)
    const whole = { bytes: CONTENT_BYTES, hash: hashOfPattern(CONTENT_BYTES) }
    expect(await Promise.all([hashOf(stream), hashOf(socket)])).toEqual([whole, whole])
  })
})

/** Writes `chunk` so many times, then ends. */
function sendRepeated(socket: Socket, chunk: Buffer, times: number): void {
  let left = times
  const write = (): void => {
    while (left > 0 && !socket.destroyed) {
      left -= 1
      if (!socket.write(chunk)) return
    }
    socket.off('drain', write)
    socket.end()
  }
  socket.on('drain', write)
  write()
}

/** Stops reading for a moment after each `stepBytes`; gives the bytes up to the end. */
function readWithPauses(stream: NodeJS.ReadableStream, stepBytes: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  let bytes = 0
  let next = stepBytes
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes < next) return
    next += stepBytes
    stream.pause()
    setTimeout(() => stream.resume(), 5)
  })
  stream.once('end', () => resolve(bytes))
  stream.once('close', () => reject(new Error(`closed after ${bytes} bytes`)))
  return promise
}

describe('windows', () => {
  let endpoint: TestEndpoint
  beforeAll(async () => {
    endpoint = await startEndpoint()
  })
  afterAll(async () => {
    await endpoint.waitUntilFree()
    await endpoint[Symbol.asyncDispose]()
  })

  const SIZES = [65_535, 131_072, 8 * MIB].flatMap((edge) => [edge - 1, edge, edge + 1])
  /** Those of RFC 9113 section 6.9.2, for a client that sets nothing, and those of TrustTunnel clients. */
  const WINDOWS = [
    ['default', 65_535, 65_535],
    ["a TrustTunnel client's", 131_072, 8 * MIB],
  ] as const

  describe.each(WINDOWS)('%s', (_, streamBytes, sessionBytes) => {
    const open = async (): Promise<H2Client> => {
      const settings = { initialWindowSize: streamBytes }
      const client = await H2Client.open({ port: endpoint.port, ...USER, settings })
      client.session.setLocalWindowSize(sessionBytes)
      return client
    }

    it.each(SIZES)('a download of %d bytes arrives whole', async (size) => {
      await using target = await openTcpTarget((socket) => void sendPattern(socket, size))
      await using client = await open()
      const { stream } = await client.connect(target.authority)
      stream.end()
      expect(await hashOf(stream)).toEqual({ bytes: size, hash: hashOfPattern(size) })
    })

    it.each(SIZES)('an upload of %d bytes arrives whole', async (size) => {
      await using target = await openRequestResponder((request) => Buffer.from(String(request.length)))
      await using client = await open()
      const { stream } = await client.connect(target.authority)
      sendPattern(stream, size)
      expect((await readAll(stream)).toString()).toBe(String(size))
    })

    it.each(SIZES)('an echo of %d bytes comes back whole', async (size) => {
      await using target = await openEcho()
      await using client = await open()
      const { stream } = await client.connect(target.authority)
      sendPattern(stream, size)
      expect(await hashOf(stream)).toEqual({ bytes: size, hash: hashOfPattern(size) })
    })
  })

  it('a stalled download holds up neither its session nor another', async () => {
    await using flood = await openTcpTarget((socket) => void sendPattern(socket, GIB))
    await using echo = await openEcho()
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    await using other = await H2Client.open({ port: endpoint.port, ...USER })
    const arrival = flood.nextSocket()
    for (let stalled = 0; stalled < 8; stalled++) await client.connect(flood.authority)
    const socket = await arrival
    await standstill(() => socket.bytesWritten - socket.writableLength)
    await expectEcho(client, echo.authority, 4 * MIB)
    await expectEcho(other, echo.authority, 4 * MIB)
  })

  it('a stalled upload holds up neither its session nor another', async () => {
    await using deaf = await openTcpTarget((socket) => void socket.pause())
    await using echo = await openEcho()
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    await using other = await H2Client.open({ port: endpoint.port, ...USER })
    const { stream } = await client.connect(deaf.authority)
    const sending = sendPattern(stream, GIB)
    await standstill(() => sending.taken)
    await expectEcho(client, echo.authority, 4 * MIB)
    await expectEcho(other, echo.authority, 4 * MIB)
  })

  it('idle tunnels hold up nobody', async () => {
    await using echo = await openEcho()
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    await Promise.all(Array.from({ length: 200 }, () => client.connect(echo.authority)))
    await expectEcho(client, echo.authority, 16 * MIB)
  })
})

async function expectEcho(client: H2Client, authority: string, size: number): Promise<void> {
  const { stream } = await client.connect(authority)
  sendPattern(stream, size)
  expect(await hashOf(stream)).toEqual({ bytes: size, hash: hashOfPattern(size) })
}

expectNothingLeftOpen()
