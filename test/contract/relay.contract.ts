/** What must hold for every pair of streams that `relayStreams` connects. */
import { createHash, randomBytes } from 'node:crypto'
import { getEventListeners, once } from 'node:events'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { IdleMonitor } from '../../src/relay/idle-monitor.ts'
import type { StreamEnd, TcpEnd } from '../../src/contract/stream-end.ts'
import type { RelayOutcome } from '../../src/relay/relay-rules.ts'
import { relayStreams } from '../../src/relay/stream-relay.ts'
import type { DuplexTunnelStream } from '../support/duplex-tunnel-stream.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** The far ends that a test holds, and the near ends that the relay gets. */
export interface RelayPair extends AsyncDisposable {
  readonly client: Duplex
  readonly target: Socket
  readonly clientEnd: StreamEnd
  readonly targetEnd: TcpEnd
  resetClient(): void
  /** Resolves with the transport's name for the reason when the client was reset. */
  clientWasReset(): Promise<string>
  /** Listeners that the client's stream gives itself when it closes. */
  readonly ownListeners?: Readonly<Record<string, number>>
  /** Leaves after EOF without waiting, where the protocol has a way to say so. */
  leave?(): void
  /** The client's side without a Duplex, where the relay is to use that. */
  readonly stream?: Pick<DuplexTunnelStream, 'cancel' | 'complaints'>
}

/** The error of a socket that writes after an RST. */
const RESET_CODES = ['ECONNRESET', 'EPIPE']
const POKE = Buffer.alloc(32_768)
const IDLE_MS = 60_000
const EVENTS = ['data', 'end', 'drain', 'finish', 'close', 'error']

function countListeners(...streams: Duplex[]): number[] {
  return streams.flatMap((stream) => EVENTS.map((event) => stream.listenerCount(event)))
}

async function readAll(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(stream, 'end')
  return Buffer.concat(chunks)
}

/** Resolves with the error's code when `socket` was reset. */
async function wasReset(socket: Socket): Promise<string> {
  socket.resume()
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  return error.code ?? ''
}

function sha256(): ReturnType<typeof createHash> {
  return createHash('sha256')
}

/** Rejects when `stream` closes instead. */
function drained(stream: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = (): void => reject(new Error('closed'))
    stream.once('close', onClose)
    stream.once('drain', () => {
      stream.off('close', onClose)
      resolve()
    })
  })
}

/** Writes `bytes` of noise with backpressure, ends, and returns the digest. */
async function pour(stream: Duplex, bytes: number): Promise<string> {
  const hash = sha256()
  const block = randomBytes(99_991)
  for (let left = bytes; left > 0; left -= block.length) {
    const chunk = block.subarray(0, Math.min(left, block.length))
    hash.update(chunk)
    if (!stream.write(chunk)) await drained(stream)
  }
  stream.end()
  return hash.digest('hex')
}

async function digest(stream: Duplex): Promise<string> {
  const hash = sha256()
  stream.on('data', (chunk: Buffer) => hash.update(chunk))
  await once(stream, 'end')
  return hash.digest('hex')
}

/** Unlike `once` it does not mind an error. */
export function whenClosed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => stream.once('close', resolve))
}

/** Writes until `stream` is gone: after EOF a socket is not read, and only a write notices a reset. */
async function poke(stream: Duplex): Promise<void> {
  while (stream.writable) {
    if (!stream.writableNeedDrain) stream.write(POKE)
    await turn()
  }
}

/** Waits until the number that `read` gives has stood still for some turns of the loop under load. */
async function standsStill(read: () => number): Promise<number> {
  let last = -1
  for (let still = 0; still < 200;) {
    await turn()
    const now = read()
    still = now === last ? still + 1 : 0
    last = now
  }
  return last
}

export interface RelayContractOptions {
  /** A client can leave in order: `leave` is there. */
  readonly canLeave: boolean
}

export function describeRelay(
  name: string,
  options: RelayContractOptions,
  openPair: () => Promise<RelayPair>,
): void {
  describe(`relay over ${name}`, () => {
    // TCP alone has no way to say it: a test that cannot exist is not listed.
    const itIfLeaves = options.canLeave ? it : (): void => {}
    let pair: RelayPair
    let clock: FakeClock
    let monitor: IdleMonitor
    let cut: AbortController
    let before: number[]
    let closed: Promise<unknown>

    beforeEach(async () => {
      pair = await openPair()
      clock = new FakeClock()
      monitor = new IdleMonitor(clock)
      cut = new AbortController()
      before = countListeners(pair.clientEnd.io, pair.targetEnd.io)
      // As transports do: the signal of a request fires when its stream is gone.
      pair.clientEnd.io.once('close', () => cut.abort())
      cut.signal.addEventListener('abort', () => pair.stream?.cancel(), { once: true })
      closed = Promise.all([whenClosed(pair.clientEnd.io), whenClosed(pair.targetEnd.io)])
    })

    /** Every way out must leave nothing behind. */
    afterEach(async () => {
      await closed
      const after = countListeners(pair.clientEnd.io, pair.targetEnd.io)
      for (const [index, count] of after.entries()) {
        const event = EVENTS[index % EVENTS.length] ?? ''
        expect(count, event).toBeLessThanOrEqual((before[index] ?? 0) + (pair.ownListeners?.[event] ?? 0))
      }
      expect(getEventListeners(cut.signal, 'abort')).toHaveLength(0)
      expect(pair.stream?.complaints ?? []).toEqual([])
      expect(monitor.size).toBe(0)
      expect(clock.pending).toBe(0)
      await pair[Symbol.asyncDispose]()
    })

    function start(): Promise<RelayOutcome> {
      return relayStreams(pair.clientEnd, pair.targetEnd, {
        idleTimeoutMs: IDLE_MS,
        idleMonitor: monitor,
        signal: cut.signal,
      })
    }

    it('a relay keeps half-close when the client ends first', async () => {
      const outcome = start()
      const request = readAll(pair.target)
      const answer = readAll(pair.client)
      pair.client.end('question')
      expect((await request).toString()).toBe('question')
      pair.target.write('ans')
      pair.target.end('wer')
      expect((await answer).toString()).toBe('answer')
      expect(await outcome).toEqual({ reason: 'ended', uplinkBytes: 8, downlinkBytes: 6 })
    })

    it('a relay keeps half-close when the target ends first', async () => {
      const outcome = start()
      const answer = readAll(pair.client)
      pair.target.end('greeting')
      expect((await answer).toString()).toBe('greeting')
      const request = readAll(pair.target)
      pair.client.write('still ')
      pair.client.end('here')
      expect((await request).toString()).toBe('still here')
      expect(await outcome).toEqual({ reason: 'ended', uplinkBytes: 10, downlinkBytes: 8 })
    })

    it('a relay carries what was sent, and ended, before it started', async () => {
      pair.client.end('early')
      pair.target.end('bird')
      const both = [readAll(pair.client), readAll(pair.target)]
      await once(pair.targetEnd.io, 'readable')
      const outcome = start()
      expect((await Promise.all(both)).map(String)).toEqual(['bird', 'early'])
      expect((await outcome).reason).toBe('ended')
    })

    it('a relay carries 64 MiB both ways at once', async () => {
      const bytes = 64 * 1024 * 1024
      const outcome = start()
      const received = Promise.all([digest(pair.target), digest(pair.client)])
      const sent = await Promise.all([pour(pair.client, bytes), pour(pair.target, bytes)])
      expect(await received).toEqual(sent)
      expect(await outcome).toEqual({ reason: 'ended', uplinkBytes: bytes, downlinkBytes: bytes })
    })

    it.each(['client', 'target'] as const)('a relay stops reading while the %s does not', async (slow) => {
      const fast = slow === 'client' ? 'target' : 'client'
      const ends = { client: pair.clientEnd.io, target: pair.targetEnd.io }
      const bytes = 48 * 1024 * 1024
      const outcome = start()
      const sent = pour(pair[fast], bytes)
      const taken = { client: 0, target: 0 }
      const onData = (chunk: Buffer): void => {
        taken.client += chunk.length
      }
      // A listener for 'data' would make a socket flow that is read without its Readable.
      if (fast === 'client') ends.client.on('data', onData)
      const read = (): number => (fast === 'client' ? taken.client : ends.target.bytesRead)
      expect(await standsStill(read)).toBeLessThan(bytes / 2)
      expect(read()).toBeGreaterThan(0)
      expect(ends[slow].writableLength + ends[slow].readableLength).toBeLessThan(512 * 1024)
      expect(ends[fast].readableLength).toBeLessThan(512 * 1024)
      ends.client.off('data', onData)
      cut.abort()
      pair.client.resume()
      pair.target.resume()
      expect((await outcome).reason).toBe('aborted')
      await sent.catch(() => {})
    })

    it('a relay delivers everything after a reader wakes up', async () => {
      const bytes = 24 * 1024 * 1024
      const outcome = start()
      const sent = pour(pair.target, bytes)
      await standsStill(() => pair.clientEnd.io.writableLength)
      const received = digest(pair.client)
      expect(await received).toBe(await sent)
      pair.client.end()
      pair.target.resume()
      expect(await outcome).toEqual({ reason: 'ended', uplinkBytes: 0, downlinkBytes: bytes })
    })

    it('a relay tells the client that the target was reset', async () => {
      const outcome = start()
      const reset = pair.clientWasReset()
      let sawEnd = false
      pair.client.once('end', () => (sawEnd = true))
      pair.client.write('x')
      await once(pair.target, 'data')
      pair.target.resetAndDestroy()
      expect(await reset).toBe('connect_error')
      // A truncated answer must not look like a complete one.
      expect(sawEnd).toBe(false)
      expect((await outcome).reason).toBe('target_reset')
    })

    it('a relay resets the target when the client is reset', async () => {
      const outcome = start()
      pair.client.write('x')
      await once(pair.target, 'data')
      const reset = wasReset(pair.target)
      pair.resetClient()
      await poke(pair.target)
      expect(RESET_CODES).toContain(await reset)
      // Through TLS a reset takes longer than what the target writes meanwhile.
      expect(await outcome).toMatchObject({ reason: 'client_reset', uplinkBytes: 1 })
    })

    it('a relay resets the target when the client is reset after its EOF', async () => {
      const outcome = start()
      pair.client.end('x')
      await readAll(pair.target)
      const reset = wasReset(pair.target)
      pair.target.write('y')
      await once(pair.client, 'data')
      pair.resetClient()
      await poke(pair.target)
      expect(RESET_CODES).toContain(await reset)
      expect((await outcome).reason).toBe('client_reset')
    })

    it('a relay delivers the answer of a target that then refuses the rest of the request', async () => {
      const outcome = start()
      const answer = readAll(pair.client)
      const reset = pair.clientWasReset()
      pair.client.write('begin')
      await once(pair.target, 'data')
      pair.target.end('no')
      expect((await answer).toString()).toBe('no')
      pair.target.resetAndDestroy()
      await poke(pair.client)
      expect(await reset).toBe('connect_error')
      expect((await outcome).reason).toBe('target_reset')
    })

    it('a relay resets both when the signal fires', async () => {
      const outcome = start()
      const resets = Promise.all([pair.clientWasReset(), wasReset(pair.target)])
      cut.abort()
      expect(await resets).toEqual(['cancel', 'ECONNRESET'])
      expect((await outcome).reason).toBe('aborted')
    })

    it('a relay resets both when nothing has moved for too long, and not before', async () => {
      const outcome = start()
      clock.advance(IDLE_MS - 1000)
      pair.client.write('x')
      await once(pair.target, 'data')
      clock.advance(IDLE_MS - 1000)
      pair.target.write('y')
      await once(pair.client, 'data')
      clock.advance(IDLE_MS - 1000)
      expect(monitor.size).toBe(1)
      const resets = Promise.all([pair.clientWasReset(), wasReset(pair.target)])
      clock.advance(IDLE_MS / 4)
      expect((await outcome).reason).toBe('idle')
      expect(await resets).toEqual(['cancel', 'ECONNRESET'])
    })

    it('a relay resets the other end when one is destroyed already', async () => {
      pair.targetEnd.io.destroy()
      const reset = pair.clientWasReset()
      expect((await start()).reason).toBe('target_reset')
      expect(await reset).toBe('connect_error')
    })

    it('a relay resets the target when the client is destroyed already', async () => {
      pair.clientEnd.io.destroy()
      const reset = wasReset(pair.target)
      expect((await start()).reason).toBe('client_reset')
      expect(await reset).toBe('ECONNRESET')
    })

    it('a relay does nothing but reset when the signal has fired already', async () => {
      cut.abort()
      const resets = Promise.all([pair.clientWasReset(), wasReset(pair.target)])
      expect((await start()).reason).toBe('aborted')
      expect(await resets).toEqual(['cancel', 'ECONNRESET'])
    })

    itIfLeaves('delivers what a client sent before it left, and gives up a target that goes on', async () => {
      const bytes = 1_000_000
      const outcome = start()
      pair.client.write(randomBytes(bytes))
      pair.leave?.()
      let received = 0
      pair.target.on('data', (chunk: Buffer) => (received += chunk.length))
      await once(pair.target, 'end')
      expect(received).toBe(bytes)
      await poke(pair.target)
      expect(await outcome).toEqual({ reason: 'ended', uplinkBytes: bytes, downlinkBytes: 0 })
    })

    itIfLeaves('ends with a target that ends after its client left', async () => {
      const outcome = start()
      pair.client.write('bye')
      pair.leave?.()
      expect((await readAll(pair.target)).toString()).toBe('bye')
      pair.target.end('late answer')
      expect((await outcome).reason).toBe('ended')
    })

    itIfLeaves('does not wait long for a target after its client left', async () => {
      const outcome = start()
      pair.client.write('bye')
      pair.leave?.()
      expect((await readAll(pair.target)).toString()).toBe('bye')
      if (!pair.clientEnd.io.destroyed) await once(pair.clientEnd.io, 'close')
      clock.advance(10_000)
      expect((await outcome).reason).toBe('ended')
    })
  })
}
