/** The streams of a connection without the connection: real windows, output and budgets, a socket that obeys. */
import type { TunnelLoss, TunnelReceiver } from '../../../../src/contract/tunnel-stream.ts'
import { DownloadBudget } from '../../../../src/transport/http2/held-downloads.ts'
import { Output, RECORD_PAYLOAD_BYTES } from '../../../../src/transport/http2/output.ts'
import type { Http2Stream } from '../../../../src/transport/http2/stream.ts'
import { Streams } from '../../../../src/transport/http2/streams.ts'
import { UploadBudget, WindowGrowth } from '../../../../src/transport/http2/window-growth.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { CountingPool } from './counting-pool.ts'
import { ManualSocket } from './manual-socket.ts'
import { framesOf, summaryOf } from './sent-frames.ts'

export const STREAM_WINDOW = 131_072
export const SESSION_WINDOW = 1_048_576

export class StreamStage {
  readonly clock = new FakeClock()
  readonly socket = new ManualSocket()
  readonly pool = new CountingPool()
  readonly uploads = new UploadBudget()
  readonly downloads = new DownloadBudget()
  readonly output = new Output(this.socket, this.pool, RECORD_PAYLOAD_BYTES, { onOverflow: () => {} })
  readonly growth: WindowGrowth
  readonly streams: Streams
  lastClosed = 0
  pings = 0
  #seen = 0

  constructor({ sessionWindowBytes = SESSION_WINDOW, streamWindowBytes = STREAM_WINDOW } = {}) {
    this.output.mayUseLargeBlocks = true
    this.growth = new WindowGrowth(this.clock, this.uploads, () => void this.pings++)
    this.streams = new Streams(
      { limit: 100, streamWindowBytes, sessionWindowBytes },
      {
        output: this.output,
        growth: this.growth,
        uploads: this.uploads,
        downloads: this.downloads,
        onStuckDownload: () => {},
        onLastClosed: () => void this.lastClosed++,
      },
    )
  }

  open(id: number): { stream: Http2Stream; receiver: NotingReceiver; ends: string[] } {
    const stream = this.streams.open(id)
    const ends: string[] = []
    stream.owner = { onStreamClosed: (how) => void ends.push(how) }
    return { stream, receiver: new NotingReceiver(), ends }
  }

  /** The client raises the window of the connection, and nothing else has arrived. */
  grow(bytes: number): void {
    this.streams.growSendWindow(bytes)
    this.streams.wakeWaiting()
  }

  /** DATA arrives as the connection hands it over. */
  receive(stream: Http2Stream, bytes: number): void {
    if (!this.streams.takeReceiveWindow(bytes)) throw new Error('more than the window of the connection')
    stream.receiveWindow -= bytes
    if (stream.receiveWindow < 0) throw new Error('more than the window of the stream')
    if (bytes > 0) stream.onData(Buffer.alloc(bytes + 4, 7), 2, bytes + 2)
  }

  /** Everything that may leave leaves. */
  drain(): void {
    this.output.flush()
    while (this.socket.isWriting) {
      this.socket.confirm()
      this.output.flush()
    }
  }

  /** What has been sent since the last call. */
  sent(): string[] {
    this.drain()
    const summary = summaryOf(this.socket.bytes)
    const fresh = summary.slice(this.#seen)
    this.#seen = summary.length
    return fresh
  }

  /** The content that has been sent on one stream. */
  contentOf(id: number): Buffer {
    this.drain()
    const frames = framesOf(this.socket.bytes).filter(({ name, stream }) => name === 'DATA' && stream === id)
    return Buffer.concat(frames.map(({ payload }) => payload))
  }
}

export class NotingReceiver implements TunnelReceiver {
  readonly calls: string[] = []
  receivedBytes = 0

  onData(chunk: Buffer): void {
    this.receivedBytes += chunk.length
    this.calls.push(`data ${chunk.length}`)
  }

  onEnd(): void {
    this.calls.push('end')
  }

  onRoom(): void {
    this.calls.push('room')
  }

  onFlushed(): void {
    this.calls.push('flushed')
  }

  onLost(how: TunnelLoss): void {
    this.calls.push(how)
  }
}
