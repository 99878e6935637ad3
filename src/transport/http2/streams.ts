/** The streams of a connection and the windows that they share (RFC 9113 sections 5.1.2 and 5.2). */
import type { TunnelLoss } from '../../contract/tunnel-stream.ts'
import { NUMBER_FRAME_BYTES, writeNumberFrame } from '../../wire/http2/frame-writer.ts'
import { DEFAULT_WINDOW_BYTES, ErrorCode, FrameType, MAX_WINDOW_BYTES } from '../../wire/http2/protocol.ts'
import type { Output } from './output.ts'
import type { UploadBudget, WindowGrowth } from './window-growth.ts'
import { Http2Stream } from './stream.ts'
import type { StreamHost } from './stream.ts'

interface StreamsDependencies {
  readonly output: Output
  readonly growth: WindowGrowth
  readonly uploads: UploadBudget
  /** The last stream has closed, and not because the connection ends. */
  onLastClosed(): void
}

export class Streams implements StreamHost {
  readonly output: Output
  sendWindow = DEFAULT_WINDOW_BYTES
  initialSendWindow = DEFAULT_WINDOW_BYTES
  /** What the client may have open at one time. */
  limit: number
  /** The highest that the client has opened. */
  lastId = 0
  readonly #deps: StreamsDependencies
  readonly #open = new Map<number, Http2Stream>()
  /** Have something to send, and the connection's window was used up; in the order in which they came. */
  readonly #awaitingWindow = new Set<Http2Stream>()
  /** What new streams are given. */
  #initialReceiveWindow: number
  /** What the client may send on all streams together, and what that is brought back to. */
  #receiveWindow: number
  readonly #receiveTarget: number
  /** Received and consumed, and not announced yet. */
  #credit = 0
  /** Received and not consumed. */
  #heldBytes = 0
  #isOver = false
  /** All were ended by the end of their connection. */
  #isLost = false

  constructor(
    options: { limit: number; streamWindowBytes: number; sessionWindowBytes: number },
    deps: StreamsDependencies,
  ) {
    this.output = deps.output
    this.limit = options.limit
    this.#deps = deps
    this.#initialReceiveWindow = options.streamWindowBytes
    this.#receiveWindow = options.sessionWindowBytes
    this.#receiveTarget = options.sessionWindowBytes
  }

  get size(): number {
    return this.#open.size
  }

  /** More waits for slow targets than may: streams that send even more are reset. */
  get holdsTooMuch(): boolean {
    return this.#deps.uploads.isExceededBy(this.#heldBytes)
  }

  find(id: number): Http2Stream | undefined {
    return this.#open.get(id)
  }

  /** The client has opened it. */
  open(id: number): Http2Stream {
    const stream = new Http2Stream(this, id, this.#initialReceiveWindow)
    this.#open.set(id, stream)
    return stream
  }

  /** Every stream ends, from the newest to the oldest. */
  loseAll(how: TunnelLoss): void {
    this.#isLost = true
    for (const stream of [...this.#open.values()].toReversed()) stream.onLost(how)
  }

  // What the client lets us send.

  /** Streams whose window would become larger than a window can be are reset. */
  setInitialSendWindow(bytes: number): void {
    const change = bytes - this.initialSendWindow
    this.initialSendWindow = bytes
    for (const stream of this.#open.values()) {
      if (change < 0) stream.sendWindow += change
      else if (!stream.growSendWindow(change)) {
        stream.onLost('reset')
        this.sendReset(stream.id, ErrorCode.FLOW_CONTROL_ERROR)
      }
    }
  }

  /** False when the window of the connection would become larger than a window can be. */
  growSendWindow(bytes: number): boolean {
    if (this.sendWindow + bytes > MAX_WINDOW_BYTES) return false
    this.sendWindow += bytes
    if (this.#awaitingWindow.size === 0) return true
    const waiting = [...this.#awaitingWindow]
    for (const stream of waiting) {
      if (this.sendWindow <= 0) break
      // One that cannot send everything comes behind those that have sent nothing.
      this.#awaitingWindow.delete(stream)
      stream.onWindow()
    }
    return true
  }

  awaitWindow(stream: Http2Stream): void {
    this.#awaitingWindow.add(stream)
  }

  // What we let the client send.

  /** The initial window of streams, those that are open included. */
  raiseReceiveWindow(bytes: number): void {
    const change = bytes - this.#initialReceiveWindow
    this.#initialReceiveWindow = bytes
    for (const stream of this.#open.values()) {
      stream.receiveWindow += change
      stream.receiveTarget += change
    }
  }

  /** DATA of this length has begun to arrive. False when it is more than the connection's window. */
  takeReceiveWindow(bytes: number): boolean {
    if (bytes > this.#receiveWindow) return false
    this.#receiveWindow -= bytes
    this.#heldBytes += bytes
    this.#deps.uploads.heldBytes += bytes
    return true
  }

  /** The connection is over: nothing is held for it any more. */
  close(): void {
    this.onConsumed(this.#heldBytes)
    this.#isOver = true
  }

  onConsumed(bytes: number): void {
    if (this.#isOver) return
    this.#heldBytes -= bytes
    this.#deps.uploads.heldBytes -= bytes
    this.#credit += bytes
    if (this.#credit < this.#receiveTarget / 4) return
    this.sendWindowUpdate(0, this.#credit)
    this.#receiveWindow += this.#credit
    this.#credit = 0
  }

  windowGrowth(stream: Http2Stream, bytes: number): number {
    return this.#deps.growth.growthOf(stream, bytes)
  }

  // Frames.

  sendReset(streamId: number, code: number): void {
    this.output.inOrder(NUMBER_FRAME_BYTES, (into, at) =>
      writeNumberFrame(into, at, FrameType.RST_STREAM, streamId, code),
    )
  }

  sendWindowUpdate(streamId: number, increment: number): void {
    this.output.urgent(NUMBER_FRAME_BYTES, (into, at) =>
      writeNumberFrame(into, at, FrameType.WINDOW_UPDATE, streamId, increment),
    )
  }

  onClosed(stream: Http2Stream): void {
    this.#open.delete(stream.id)
    this.#awaitingWindow.delete(stream)
    this.#deps.growth.onClosed(stream)
    if (this.#open.size === 0 && !this.#isLost) this.#deps.onLastClosed()
  }
}
