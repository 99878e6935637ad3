/** A session between a client that keeps books and those who answer, driven by chance. */
import type { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { Counters } from '../../../src/counters.ts'
import type { Exchange } from '../../../src/contract/exchange.ts'
import { LingerQueue } from '../../../src/transport/linger.ts'
import type { Http2Options } from '../../../src/transport/http2/announcement.ts'
import { Http2Session } from '../../../src/transport/http2/session.ts'
import { DownloadBudget } from '../../../src/transport/http2/held-downloads.ts'
import { UploadBudget } from '../../../src/transport/http2/window-growth.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import type { Random } from '../../support/random.ts'
import { CountingPool } from '../../unit/transport/http2/counting-pool.ts'
import { DirectApp, DuplexApp, streamOf } from './apps.ts'
import type { App } from './apps.ts'
import { MemorySocket } from './memory-socket.ts'
import { Peer } from './peer.ts'
import type { PeerStream } from './peer.ts'

const GROWTH_BYTES = 134_217_728
const OPTIONS: Http2Options = {
  announced: {
    maxConcurrentStreams: 12,
    streamWindowBytes: 70_000,
    sessionWindowBytes: 200_000,
    maxFrameBytes: 16_384,
    maxHeaderListBytes: undefined,
  },
  trusted: { maxConcurrentStreams: 20, streamWindowBytes: 131_072 },
  heads: { maxHeadBytes: 65_536, maxStringBytes: 65_536 },
}

export class FuzzStage {
  readonly peer: Peer
  readonly apps = new Map<number, App>()
  readonly #random: Random
  readonly #clock = new FakeClock()
  readonly #pool = new CountingPool()
  readonly #uploads = new UploadBudget()
  readonly #downloads = new DownloadBudget()
  readonly #linger = new LingerQueue(this.#clock)
  readonly #socket: MemorySocket
  readonly #session: Http2Session
  #isTrusted = false
  #ends = 0
  #closes = 0

  constructor(random: Random) {
    this.#random = random
    this.peer = new Peer(random)
    this.#socket = new MemorySocket(this.peer.onBytes)
    this.#session = new Http2Session(
      {
        id: 'fuzz',
        socket: this.#socket as unknown as TLSSocket,
        rawSocket: this.#socket as unknown as TLSSocket,
        remoteAddress: '192.0.2.1',
        remotePort: 1,
        serverName: undefined,
        channel: 'main',
      },
      OPTIONS,
      {
        clock: this.#clock,
        counters: new Counters(),
        slabs: this.#pool,
        acceptSession: () => ({
          onExchange: (exchange) => this.#onExchange(exchange),
          onClose: () => void this.#closes++,
        }),
      },
      {
        linger: this.#linger,
        uploads: this.#uploads,
        downloads: this.#downloads,
        onEnd: () => void this.#ends++,
      },
    )
    this.#session.listen()
    if (!random.oneIn(3)) return
    // Windows that are never what answers wait for.
    this.peer.sendSettings([[4, 10_000_000]])
    this.peer.grant(undefined, 100_000_000)
  }

  #onExchange(exchange: Exchange): void {
    const random = this.#random
    if (!this.#isTrusted && random.oneIn(2)) {
      this.#isTrusted = true
      this.#session.trust()
    }
    const { id } = (exchange as unknown as { stream: { id: number } }).stream
    if (random.oneIn(8)) return exchange.refuse(407)
    if (random.oneIn(12)) return exchange.reset('cancel')
    if (exchange.kind === 'connect' && random.oneIn(2)) {
      this.apps.set(id, new DirectApp(exchange, streamOf(exchange)))
      return
    }
    const io = exchange.kind === 'connect' ? exchange.accept().io : (exchange.respond(200, {}) as Duplex)
    this.apps.set(id, new DuplexApp(exchange, id, io))
  }

  /** What does not hold. */
  get faults(): string[] {
    const { heldBytes } = this.#uploads
    return [
      ...this.peer.faults,
      ...[...this.apps.values()].flatMap(({ faults, received }) => [
        ...faults,
        ...(received.fault === undefined || this.peer.isHostile ? [] : [received.fault]),
      ]),
      ...(heldBytes < 0 || heldBytes > OPTIONS.announced.sessionWindowBytes
        ? [`${heldBytes} bytes are held`]
        : []),
      ...(this.#session.openStreams > 20 ? ['too many streams'] : []),
      ...(this.#pool.out.size > 40 ? [`${this.#pool.out.size} blocks`] : []),
    ]
  }

  async step(hostile: boolean): Promise<void> {
    const random = this.#random
    switch (random.below(10)) {
      case 0:
      case 1:
      case 2:
        return this.#clientActs(hostile)
      case 3:
      case 4:
      case 5:
        if (this.apps.size === 0) return this.#deliver(random.size(this.peer.pendingBytes))
        return [...this.apps.values()][random.below(this.apps.size)]?.act(random)
      case 6:
        return this.#deliver(random.size(this.peer.pendingBytes))
      case 7:
        return this.#socket.confirm()
      case 8:
        await turn()
        return
      default:
        if (random.oneIn(4)) this.#pass(random.below(400))
        // Many at once wait for room.
        else if (random.oneIn(3)) for (const app of this.apps.values()) app.act(random)
    }
  }

  #pass(ms: number): void {
    this.#clock.advance(ms)
    this.#session.check(this.#clock.now())
  }

  #deliver(bytes: number): void {
    const chunk = this.peer.take(bytes)
    if (chunk.length > 0 && !this.#socket.destroyed) this.#socket.push(Buffer.from(chunk))
  }

  #clientActs(hostile: boolean): void {
    const { peer } = this
    const random = this.#random
    const [stream] = peer.open.slice(random.below(Math.max(1, peer.open.length)))
    if (hostile && random.oneIn(20)) return peer.sendHostile()
    switch (random.below(16)) {
      case 0:
      case 1:
        return peer.openStream(random.pick(['CONNECT', 'CONNECT', 'GET', 'POST']), !random.oneIn(5))
      case 2:
        return peer.sendSettings(
          random.oneIn(3)
            ? [[4, random.size(200_000)]]
            : [
                [1, random.below(5000)],
                [0xff, 1],
              ],
        )
      case 3:
        return peer.sendPing()
      case 4:
        return peer.sendNothingMuch()
      case 5:
      case 6:
        return peer.grant(undefined, 1 + random.size(200_000))
      case 7:
      case 8:
        return stream === undefined ? undefined : peer.grant(stream, 1 + random.size(100_000))
      case 9:
        return this.#clientEnds(stream)
      default:
        return stream === undefined ? undefined : peer.sendData(stream, random.size(20_000), random.oneIn(20))
    }
  }

  #clientEnds(stream: PeerStream | undefined): void {
    if (stream === undefined) return
    if (this.#random.oneIn(3)) this.peer.sendReset(stream, this.#random.pick([0, 8]))
    // Only users may.
    else if (this.#isTrusted && this.apps.has(stream.id)) this.peer.sendTrailers(stream)
  }

  /** Nothing is on its way any more, in either direction. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 4;) {
      this.#deliver(this.peer.pendingBytes)
      const wasWriting = this.#socket.isWriting
      this.#socket.confirm()
      await turn()
      this.#pass(1)
      quiet = wasWriting || this.peer.pendingBytes > 0 ? 0 : quiet + 1
    }
    // Visitors' requests are read one after another.
    this.#pass(250)
    await turn()
  }

  /** Windows for everything: everything arrives. Returns what did not. */
  async finishInOrder(): Promise<string[]> {
    const { peer } = this
    for (let round = 0; round < 12; round++) {
      for (const app of this.apps.values()) app.takeAll()
      if (round === 0) for (const stream of peer.open) peer.grant(stream, 1_000_000)
      await this.settle()
      // Alone, since it alone must wake whoever waits for it.
      peer.grant(undefined, 3_000_000)
      await this.settle()
    }
    const wrong = [...this.apps.values()]
      .filter(({ isBlocked, isOver, hasReset }) => isBlocked && !isOver && !hasReset)
      .map(({ id }) => `stream ${id} is not told to go on`)
    for (const app of this.apps.values()) app.end()
    for (const stream of peer.open) peer.sendData(stream, 0, true)
    for (let round = 0; round < 4; round++) {
      for (const app of this.apps.values()) app.takeAll()
      await this.settle()
    }
    for (const app of this.apps.values()) wrong.push(...this.#unfinished(app))
    if (this.#session.openStreams > 0) wrong.push(`${this.#session.openStreams} streams are open`)
    if (this.#uploads.heldBytes !== 0) wrong.push(`${this.#uploads.heldBytes} bytes are held`)
    if (this.#pool.out.size > 0) wrong.push('blocks are out')
    return wrong
  }

  #unfinished({ id, writtenBytes, received, gotEnd, hasReset }: App): string[] {
    const stream = this.peer.streams.get(id)
    if (stream === undefined || hasReset || stream.hasReset || stream.gotReset !== undefined) return []
    const wrong: string[] = []
    if (!stream.gotEnd) wrong.push(`no end of ${id} arrived`)
    if (!gotEnd) wrong.push(`the end of ${id} was not delivered`)
    if (stream.received.bytes !== writtenBytes)
      wrong.push(`${stream.received.bytes} of ${writtenBytes} on ${id}`)
    if (stream.sentBytes !== received.bytes) wrong.push(`${received.bytes} of ${stream.sentBytes} from ${id}`)
    return wrong
  }

  /** The connection ends, somehow. Returns what is left of it. */
  async end(): Promise<string[]> {
    const random = this.#random
    const way = random.below(4)
    if (way === 0) this.#socket.push(null)
    else if (way === 1) this.#session.destroy(new Error('the end'))
    else if (way === 2) void this.#session.close({ graceMs: random.below(100) })
    else this.#socket.destroy()
    for (let count = 0; count < 10; count++) {
      this.#socket.confirm()
      await turn()
    }
    // Whoever waits for the client does so for a time only.
    for (let count = 0; count < 10 && this.#ends === 0; count++) {
      this.#pass(10_000)
      await turn()
      this.#socket.confirm()
      await turn()
    }
    for (const app of this.apps.values()) app.takeAll()
    await turn()
    this.#linger.destroy()
    const left: string[] = []
    if (this.#ends !== 1 || this.#closes !== 1)
      left.push(`told of ${this.#ends} and ${this.#closes} ends, way ${way}`)
    if (this.#session.openStreams !== 0) left.push('streams')
    if (this.#uploads.heldBytes !== 0) left.push(`${this.#uploads.heldBytes} bytes held`)
    if (this.#uploads.overheadBytes !== 0) left.push(`${this.#uploads.overheadBytes} bytes of overhead`)
    if (this.#downloads.heldBytes !== 0) left.push(`${this.#downloads.heldBytes} bytes held for the client`)
    if (this.#uploads.take(Infinity) !== GROWTH_BYTES) left.push('growth')
    if (this.#pool.out.size !== 0) left.push(`${this.#pool.out.size} blocks`)
    if (this.#clock.pending !== 0) left.push(`${this.#clock.pending} timers`)
    return left
  }
}
