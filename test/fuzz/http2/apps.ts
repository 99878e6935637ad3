/** Those who answer: each does at random what its kind may do with an exchange, and checks what it is given. */
import type { Duplex } from 'node:stream'
import type { ConnectExchange, Exchange } from '../../../src/contract/exchange.ts'
import type { TunnelLoss, TunnelReceiver, TunnelStream } from '../../../src/contract/tunnel-stream.ts'
import type { Http2Stream } from '../../../src/transport/http2/stream.ts'
import type { Random } from '../../support/random.ts'
import { ContentCheck, streamBytes } from './stream-bytes.ts'

/** A read of a socket, at most. */
const READ_BYTES = 65_500

export interface App {
  readonly id: number
  readonly received: ContentCheck
  writtenBytes: number
  /** The client's end has come. */
  gotEnd: boolean
  /** Nothing will follow. */
  isOver: boolean
  /** We were told to stop writing, and not to go on. */
  readonly isBlocked: boolean
  /** We have reset it. */
  hasReset: boolean
  readonly faults: string[]
  act(random: Random): void
  /** Takes everything, and ends. */
  takeAll(): void
  end(): void
}

/** The stream below an exchange. */
export function streamOf(exchange: ConnectExchange): Http2Stream {
  return (exchange.accept() as unknown as { direct: Http2Stream }).direct
}

export class DirectApp implements App, TunnelReceiver {
  readonly id: number
  readonly received: ContentCheck
  readonly faults: string[] = []
  writtenBytes = 0
  gotEnd = false
  isOver = false
  isBlocked = false
  hasReset = false
  #owedBytes = 0
  #hasEnded = false
  #flushed = 0
  readonly #stream: TunnelStream
  readonly #exchange: Exchange

  constructor(exchange: ConnectExchange, stream: Http2Stream) {
    this.#exchange = exchange
    this.#stream = stream
    this.id = stream.id
    this.received = new ContentCheck(stream.id)
    stream.start(this)
  }

  act(random: Random): void {
    switch (random.below(12)) {
      case 0:
        if (random.oneIn(3)) this.end()
        return
      case 1:
        if (random.oneIn(6)) this.#reset(random)
        return
      case 2:
      case 3:
      case 4:
      case 5:
        return this.#credit(random.size(this.#owedBytes))
      default:
        return this.#write(random.size(READ_BYTES), random.oneIn(10))
    }
  }

  #write(bytes: number, onceMore: boolean): void {
    if (this.isOver || this.#hasEnded || (this.isBlocked && !onceMore) || bytes === 0) return
    if (this.isBlocked && this.#stream.unsentBytes > 0) return
    const from = Buffer.concat([
      Buffer.from('xx'),
      streamBytes(this.id, this.writtenBytes, bytes),
      Buffer.from('x'),
    ])
    this.writtenBytes += bytes
    this.isBlocked = !this.#stream.write(from, 2, bytes + 2)
    from.fill(0xcc)
  }

  #credit(bytes: number): void {
    this.#owedBytes -= bytes
    if (bytes > 0) this.#stream.credit(bytes)
  }

  #reset(random: Random): void {
    this.isOver = true
    this.hasReset = true
    this.#owedBytes = 0
    if (random.oneIn(4)) this.#exchange.cancel()
    else this.#stream.reset(random.pick(['no_error', 'cancel']))
  }

  takeAll(): void {
    this.#credit(this.#owedBytes)
  }

  end(): void {
    if (this.isOver || this.#hasEnded) return
    this.#hasEnded = true
    this.#stream.end()
  }

  onData(chunk: Buffer): void {
    this.#expectOpen('data')
    if (this.gotEnd) this.faults.push(`data after the end of ${this.id}`)
    this.received.take(chunk)
    this.#owedBytes += chunk.length
  }

  onEnd(): void {
    this.#expectOpen('end')
    if (this.gotEnd) this.faults.push(`a second end of ${this.id}`)
    this.gotEnd = true
  }

  onRoom(): void {
    this.#expectOpen('room')
    this.isBlocked = false
  }

  onFlushed(): void {
    this.#expectOpen('flushed')
    if (!this.#hasEnded || this.#flushed++ > 0) this.faults.push(`flushed too often on ${this.id}`)
    this.isBlocked = false
  }

  onLost(how: TunnelLoss): void {
    // A cancel is told to whoever has the stream.
    if (!(how === 'cancelled' && this.hasReset)) this.#expectOpen(how)
    if (this.gotEnd && this.#flushed > 0) this.faults.push(`${how} after both ends of ${this.id}`)
    if (how === 'left' && !this.gotEnd) this.faults.push(`${how} without the end of ${this.id}`)
    this.isOver = true
  }

  #expectOpen(what: string): void {
    if (this.isOver) this.faults.push(`${what} after the loss of ${this.id}`)
  }
}

export class DuplexApp implements App {
  readonly id: number
  readonly received: ContentCheck
  readonly faults: string[] = []
  writtenBytes = 0
  gotEnd = false
  isOver = false
  hasReset = false
  readonly #io: Duplex
  readonly #exchange: Exchange

  constructor(exchange: Exchange, id: number, io: Duplex) {
    this.#exchange = exchange
    this.#io = io
    this.id = id
    this.received = new ContentCheck(id)
    io.on('error', (error) => this.faults.push(`stream ${id} failed: ${error.message}`))
    io.on('data', (chunk: Buffer) => {
      if (this.gotEnd) this.faults.push(`data after the end of ${id}`)
      this.received.take(chunk)
    })
    io.once('end', () => (this.gotEnd = true))
    io.once('close', () => (this.isOver = true))
  }

  get isBlocked(): boolean {
    return this.#io.writableNeedDrain
  }

  act(random: Random): void {
    if (this.#io.destroyed) return
    switch (random.below(10)) {
      case 0:
        if (random.oneIn(3)) this.end()
        return
      case 1:
        if (!random.oneIn(6)) return
        this.hasReset = true
        if (random.oneIn(3)) this.#exchange.cancel()
        else if (random.oneIn(2)) this.#exchange.reset('cancel')
        else this.#io.destroy()
        return
      case 2:
        return void this.#io.pause()
      case 3:
      case 4:
        return void this.#io.resume()
      default:
        return this.#write(random.size(30_000))
    }
  }

  #write(bytes: number): void {
    if (!this.#io.writable || this.isBlocked || bytes === 0) return
    this.#io.write(Buffer.from(streamBytes(this.id, this.writtenBytes, bytes)))
    this.writtenBytes += bytes
  }

  takeAll(): void {
    this.#io.resume()
  }

  end(): void {
    if (this.#io.writable) this.#io.end()
  }
}
