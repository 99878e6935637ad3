/** The streams of a connection and the windows that they share (RFC 9113 sections 5.1.2 and 5.2). */
import type { TunnelLoss } from '../../contract/tunnel-stream.ts'
import { NUMBER_FRAME_BYTES, writeNumberFrame } from '../../wire/http2/frame-writer.ts'
import { DEFAULT_WINDOW_BYTES, ErrorCode, FrameType, MAX_WINDOW_BYTES } from '../../wire/http2/protocol.ts'
import type { Output } from './output.ts'
import { HeldDownloads } from './held-downloads.ts'
import type { DownloadBudget } from './held-downloads.ts'
import type { UploadBudget, WindowGrowth } from './window-growth.ts'
import { Http2Stream } from './stream.ts'
import type { StreamHost } from './stream.ts'

interface StreamsDependencies {
  readonly output: Output
  readonly growth: WindowGrowth
  readonly uploads: UploadBudget
  readonly downloads: DownloadBudget
  /** A stream was reset because its client let nothing through. */
  onStuckDownload(why: 'too_much' | 'stalled'): void
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
  /** Have something to send, and the connection's window is too small; in the order in which they came. */
  readonly #awaitingWindow = new Set<Http2Stream>()
  /** None of them can go on with less than this, as far as is known. */
  #leastNeed = Infinity
  /** What new streams are given. */
  #initialReceiveWindow: number
  /** What the client may send on all streams together, and what that is brought back to. */
  #receiveWindow: number
  readonly #receiveTarget: number
  /** Received and consumed, and not announced yet. */
  #credit = 0
  /** Received and not consumed. */
  #heldBytes = 0
  /** What keeping it needs beyond that. */
  #overheadBytes = 0
  readonly #downloads: HeldDownloads
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
    this.#downloads = new HeldDownloads(deps.downloads)
    this.#initialReceiveWindow = options.streamWindowBytes
    this.#receiveWindow = options.sessionWindowBytes
    this.#receiveTarget = options.sessionWindowBytes
  }

  get size(): number {
    return this.#open.size
  }

  /** More waits for slow targets than may: streams that send even more are reset. */
  get holdsTooMuch(): boolean {
    return this.#deps.uploads.isExceededBy(this.#heldBytes + this.#overheadBytes)
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
    // What is larger than this window goes in pieces.
    if (this.#awaitingWindow.size > 0) this.#leastNeed = 1
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
    return true
  }

  /**
   * Streams that wait for the connection's window go on. Call it once for all frames that have arrived together: a
   * client may send a thousand updates of one byte, and have a thousand streams that wait.
   */
  wakeWaiting(): void {
    if (this.sendWindow < this.#leastNeed) return
    const waiting = [...this.#awaitingWindow]
    for (const stream of waiting) {
      // Datagrams wait for a window that takes them whole. Asking each of a thousand for every byte of window is work.
      if (this.sendWindow < this.#leastNeed) return
      // One that cannot send everything comes behind those that have sent nothing.
      this.#awaitingWindow.delete(stream)
      stream.onWindow()
    }
    this.#leastNeed = Infinity
    for (const stream of this.#awaitingWindow)
      this.#leastNeed = Math.min(this.#leastNeed, stream.neededWindow)
  }

  awaitWindow(stream: Http2Stream): void {
    this.#awaitingWindow.add(stream)
    this.#leastNeed = Math.min(this.#leastNeed, stream.neededWindow)
  }

  onHeld(stream: Http2Stream, bytes: number): void {
    if (this.#isOver) return
    this.#downloads.change(bytes, this.#open.values())
    // Not now: the stream's target is being read.
    if (bytes > 0 && this.#downloads.isExceeded) setImmediate(() => this.#dropStuck(stream, 'too_much'))
  }

  mayRead(stream: Http2Stream): boolean {
    if (!this.#downloads.isStopping) return true
    this.#downloads.keepStopped(stream)
    return false
  }

  /** Called about once a second. */
  check(now: number, isTrusted: boolean): void {
    for (const stream of this.#downloads.stalled(now, this.#open.values(), isTrusted))
      this.#dropStuck(stream, 'stalled', isTrusted)
  }

  /** Visitors get the code that nginx gives. */
  #dropStuck(stream: Http2Stream, why: 'too_much' | 'stalled', isTrusted = true): void {
    if (stream.held === undefined) return
    this.#deps.onStuckDownload(why)
    stream.onLost('reset')
    this.sendReset(stream.id, isTrusted ? ErrorCode.ENHANCE_YOUR_CALM : ErrorCode.PROTOCOL_ERROR)
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
    this.#hold(bytes)
    return true
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes
    this.#deps.uploads.heldBytes += bytes
  }

  /** The connection is over: nothing is held for it any more. */
  close(): void {
    this.#hold(-this.#heldBytes)
    this.onOverhead(-this.#overheadBytes)
    this.#downloads.close()
    this.#isOver = true
  }

  onConsumed(bytes: number): void {
    if (this.#isOver) return
    this.#hold(-bytes)
    this.#credit += bytes
    if (this.#credit < this.#receiveTarget / 4) return
    this.sendWindowUpdate(0, this.#credit)
    this.#receiveWindow += this.#credit
    this.#credit = 0
  }

  onOverhead(bytes: number): void {
    if (this.#isOver) return
    this.#overheadBytes += bytes
    this.#deps.uploads.overheadBytes += bytes
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
    this.#downloads.onClosed(stream)
    if (this.#open.size === 0 && !this.#isLost) this.#deps.onLastClosed()
  }
}
