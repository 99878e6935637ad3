/**
 * One stream (RFC 9113 section 5): its state, its two windows, and what waits for either. Consumed as a `TunnelStream`:
 * by the relay of a TCP tunnel without anything in between, by everyone else through `StreamDuplex`.
 */
import type { StreamReset } from '../../contract/stream-end.ts'
import type { TunnelLoss, TunnelReceiver, TunnelStream } from '../../contract/tunnel-stream.ts'
import { keptPiece } from '../../wire/kept-piece.ts'
import { DEFAULT_FRAME_BYTES, ErrorCode, MAX_WINDOW_BYTES } from '../../wire/http2/protocol.ts'
import { TURN_BYTES } from './output.ts'
import type { Output } from './output.ts'
import { RESET_CODES } from './reset-codes.ts'

/** Pieces smaller than this need more memory than their content while they wait, and count for that. */
const SMALL_PIECE_BYTES = 1024
const PIECE_OVERHEAD_BYTES = 512

/** The connection, as its streams see it. */
export interface StreamHost {
  readonly output: Output
  /** What the client lets us send on all streams together. */
  sendWindow: number
  /** SETTINGS_INITIAL_WINDOW_SIZE of the client. */
  readonly initialSendWindow: number
  /** The stream has bytes to send and the connection has no window for them. */
  awaitWindow(stream: Http2Stream): void
  /** `bytes` of what was received need no memory any more. */
  onConsumed(bytes: number): void
  /** So much more than the content is needed to keep what was received, or less. */
  onOverhead(bytes: number): void
  /** So much more of the target's bytes waits in the stream, or less. */
  onHeld(stream: Http2Stream, bytes: number): void
  /** False: the stream is told when its target may be read again, by {@link Http2Stream.resumeTarget}. */
  mayRead(stream: Http2Stream): boolean
  /** What the stream's window is to grow by, when `bytes` of it are given back. */
  windowGrowth(stream: Http2Stream, bytes: number): number
  sendReset(streamId: number, code: number): void
  sendWindowUpdate(streamId: number, increment: number): void
  /** The stream is closed. */
  onClosed(stream: Http2Stream): void
}

/** Told once, when the stream has closed. `ended`: both sides have ended it. */
export interface StreamOwner {
  onStreamClosed(how: 'ended' | TunnelLoss): void
}

export class Http2Stream implements TunnelStream {
  readonly showsLoss = true
  readonly id: number
  /** What the client lets us send on this stream; below 0 after it has lowered its initial window. */
  sendWindow: number
  /** What we let the client send. */
  receiveWindow: number
  /** What {@link receiveWindow} is brought back to. */
  receiveTarget: number
  owner: StreamOwner | undefined
  /** Called once, when {@link isSettled} becomes true. */
  onSettled: (() => void) | undefined
  /** What is credited is given back to the window of the connection alone. */
  keepsWindow = false
  /** Writes of up to a frame go out as one DATA frame: they hold whole datagrams. */
  keepsWrites = false
  readonly #host: StreamHost
  #receiver: TunnelReceiver | undefined
  /** What has arrived while there is no receiver. */
  #early: Buffer[] | undefined
  #discards = false
  /** Received and not yet given back to either window. */
  #unconsumed = 0
  /** What counts for small pieces among them. */
  #overhead = 0
  /** Given back and not yet announced. */
  #credit = 0
  /** Waits for a window or for room, from {@link #heldAt} on. */
  #held: Buffer | undefined
  #heldAt = 0
  #awaitsRoom = false
  /** What it may send before it lets others go first. */
  #turnBytes = TURN_BYTES
  #remoteEnded = false
  /** `end` was called. */
  #ending = false
  #localEnded = false
  #closed = false
  #lost: TunnelLoss | undefined

  constructor(host: StreamHost, id: number, receiveWindow: number) {
    this.#host = host
    this.id = id
    this.sendWindow = host.initialSendWindow
    this.receiveWindow = receiveWindow
    this.receiveTarget = receiveWindow
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** The client has sent END_STREAM. */
  get remoteEnded(): boolean {
    return this.#remoteEnded
  }

  /** Our side has ended, or waits for the client. */
  get isSettled(): boolean {
    return this.#localEnded || this.#closed || this.#held !== undefined
  }

  /** What the client still sends is dropped. */
  get discards(): boolean {
    return this.#discards
  }

  /** Changes whenever something of it has gone and the rest is another buffer. */
  get held(): Buffer | undefined {
    return this.#held
  }

  get unsentBytes(): number {
    return this.#held === undefined ? 0 : this.#held.length - this.#heldAt
  }

  // What the relay, or a Duplex, asks for.

  start(receiver: TunnelReceiver): void {
    // What it has sent before is gone: even if it left in order, that must not look complete.
    if (this.#lost !== undefined) return receiver.onLost(this.#lost === 'left' ? 'reset' : this.#lost)
    this.#receiver = receiver
    const early = this.#early
    this.#early = undefined
    if (early !== undefined)
      for (const chunk of early) if (this.#receiver !== undefined) receiver.onData(chunk)
    if (this.#remoteEnded && this.#receiver !== undefined) receiver.onEnd()
    if (receiver.onStop !== undefined && !this.#closed && !this.#host.mayRead(this)) receiver.onStop()
  }

  write(from: Buffer, start: number, end: number): boolean {
    if (this.#closed || this.#ending) return true
    const bytes = end - start
    const mustWait = !this.#host.output.accepts(bytes, this.#turnBytes)
    const sent = this.#held !== undefined || mustWait ? 0 : this.#sendNow(from, start, end)
    if (sent < bytes) {
      this.#hold(from, start + sent, end)
      if (mustWait) this.#awaitRoom()
      return false
    }
    if (this.#host.output.mayGoOn(this.#turnBytes)) return true
    this.#awaitRoom()
    return false
  }

  end(): void {
    if (this.#closed || this.#ending) return
    this.#ending = true
    if (this.#held === undefined) this.#endNow()
  }

  credit(bytes: number): void {
    this.#consume(bytes)
    if (this.#remoteEnded || this.#closed || this.keepsWindow) return
    this.#credit += bytes
    if (this.#credit >= this.receiveTarget / 4) this.#announce()
  }

  reset(reason: StreamReset): void {
    this.resetWith(RESET_CODES[reason], 'reset')
  }

  /** Ends both directions: the receiver hears nothing, the owner that it was `how`. */
  resetWith(code: number, how: TunnelLoss): void {
    // What was delivered and not taken by then is given up.
    if (this.#closed) return this.#consume(this.#unconsumed)
    this.#receiver = undefined
    this.#host.sendReset(this.id, code)
    this.#close(how)
  }

  /** The same on behalf of somebody else: the receiver is told. */
  cancel(): void {
    if (this.#closed) return this.#consume(this.#unconsumed)
    this.#host.sendReset(this.id, ErrorCode.CANCEL)
    this.#close('cancelled')
  }

  /** What the client sends from now on is of no use. */
  discard(): void {
    this.#discards = true
    const early = this.#early
    this.#early = undefined
    for (const chunk of early ?? []) this.credit(chunk.length)
  }

  // What the connection tells.

  /** A piece of DATA, already counted against both windows. */
  onData(chunk: Buffer, start: number, end: number): void {
    this.#unconsumed += end - start
    if (this.#closed || this.#discards) return this.credit(end - start)
    const piece = chunk.subarray(start, end)
    if (this.#receiver !== undefined) this.#receiver.onData(piece)
    else (this.#early ??= []).push(keptPiece(piece))
    if (piece.length < SMALL_PIECE_BYTES && this.#unconsumed > 0) {
      this.#overhead += PIECE_OVERHEAD_BYTES
      this.#host.onOverhead(PIECE_OVERHEAD_BYTES)
    }
  }

  /** Padding: counted, and done with. */
  onPadding(bytes: number): void {
    this.#unconsumed += bytes
    this.credit(bytes)
  }

  onRemoteEnd(): void {
    if (this.#remoteEnded || this.#closed) return
    this.#remoteEnded = true
    this.#receiver?.onEnd()
    this.#closeIfEnded()
  }

  /** RST_STREAM, or the end of the connection. */
  onLost(how: TunnelLoss): void {
    if (how === 'left') this.onRemoteEnd()
    this.#close(how)
  }

  /** False when the window would become larger than a window can be. */
  growSendWindow(bytes: number): boolean {
    if (this.sendWindow + bytes > MAX_WINDOW_BYTES) return false
    this.sendWindow += bytes
    this.onWindow()
    return true
  }

  /** The stream's window, or the connection's, has grown. */
  onWindow(): void {
    if (this.#held === undefined || this.#awaitsRoom) return
    // Others have had their turns in the meantime.
    if (this.#host.output.accepts(this.unsentBytes, 0)) this.#sendHeld()
    else this.#awaitRoom()
  }

  /** From the output: it is this stream's turn. */
  onRoom(turnBytes: number): void {
    this.#awaitsRoom = false
    this.#turnBytes = turnBytes
    if (this.#closed) return
    if (this.#held !== undefined) this.#sendHeld()
    else this.#continueTarget()
  }

  /** Too much is held elsewhere in the session. False when this stream's target is stopped already, or cannot be. */
  stopTarget(): boolean {
    const receiver = this.#receiver
    if (receiver?.onStop === undefined || this.#held !== undefined || this.#awaitsRoom) return false
    receiver.onStop()
    return true
  }

  resumeTarget(): void {
    if (this.#held === undefined && !this.#awaitsRoom) this.#receiver?.onRoom()
  }

  #continueTarget(): void {
    if (this.#receiver?.onStop === undefined || this.#host.mayRead(this)) this.#receiver?.onRoom()
  }

  // Sending.

  /** Returns how many bytes the windows let through. */
  #sendNow(from: Buffer, start: number, end: number): number {
    const host = this.#host
    const bytes = end - start
    let allowed = Math.max(0, Math.min(bytes, this.sendWindow, host.sendWindow))
    if (allowed < bytes && this.#goesWhole(bytes)) allowed = 0
    if (allowed === 0) return 0
    if (this.keepsWrites && bytes <= DEFAULT_FRAME_BYTES)
      host.output.data(this.id, from, start, start + allowed, DEFAULT_FRAME_BYTES)
    else host.output.data(this.id, from, start, start + allowed)
    this.#turnBytes -= allowed
    this.sendWindow -= allowed
    host.sendWindow -= allowed
    return allowed
  }

  #hold(from: Buffer, start: number, end: number): void {
    const held = this.#held
    const rest = from.subarray(start, end)
    this.#held = held === undefined ? Buffer.from(rest) : Buffer.concat([held.subarray(this.#heldAt), rest])
    this.#heldAt = 0
    this.#host.onHeld(this, rest.length)
    this.#awaitWindow()
    this.#settle()
  }

  #sendHeld(): void {
    const held = this.#held
    if (held === undefined) return
    const sent = this.#sendNow(held, this.#heldAt, held.length)
    this.#heldAt += sent
    if (sent > 0) this.#host.onHeld(this, -sent)
    if (this.#heldAt < held.length) return this.#awaitWindow()
    this.#held = undefined
    this.#heldAt = 0
    if (this.#ending) this.#endNow()
    else if (this.#host.output.mayGoOn(this.#turnBytes)) this.#continueTarget()
    else this.#awaitRoom()
  }

  /** How much of the connection's window there must be for anything to be sent. */
  get neededWindow(): number {
    return this.#goesWhole(this.unsentBytes) ? this.unsentBytes : 1
  }

  /** When it is the connection's window that is used up. One that does not take a whole write is of no use for that. */
  #awaitWindow(): void {
    if (this.#host.sendWindow < (this.keepsWrites ? this.unsentBytes : 1)) this.#host.awaitWindow(this)
  }

  /** A client with a window smaller than this gets pieces, since it could never get the whole. */
  #goesWhole(bytes: number): boolean {
    return this.keepsWrites && bytes <= DEFAULT_FRAME_BYTES && bytes <= this.#host.initialSendWindow
  }

  #awaitRoom(): void {
    if (this.#awaitsRoom) return
    this.#awaitsRoom = true
    this.#host.output.wait(this)
  }

  #endNow(): void {
    this.#host.output.endStream(this.id)
    this.onLocalEnd()
  }

  /** END_STREAM has been sent, with DATA or with HEADERS. */
  onLocalEnd(): void {
    this.#ending = true
    this.#localEnded = true
    this.#settle()
    this.#receiver?.onFlushed()
    this.#closeIfEnded()
  }

  #announce(): void {
    const credit = this.#credit
    this.#credit = 0
    const growth = this.#host.windowGrowth(this, credit)
    this.receiveTarget += growth
    this.receiveWindow += credit + growth
    this.#host.sendWindowUpdate(this.id, credit + growth)
  }

  // The end.

  #settle(): void {
    const { onSettled } = this
    this.onSettled = undefined
    onSettled?.()
  }

  /** The bytes need no memory any more. */
  #consume(bytes: number): void {
    const consumed = Math.min(bytes, this.#unconsumed)
    if (this.#overhead > 0) this.#consumeOverhead(consumed)
    this.#unconsumed -= consumed
    this.#host.onConsumed(consumed)
  }

  /** In proportion, since nobody says which pieces have gone. */
  #consumeOverhead(consumed: number): void {
    const part = consumed === this.#unconsumed ? 1 : consumed / this.#unconsumed
    const bytes = Math.floor(this.#overhead * part)
    this.#overhead -= bytes
    this.#host.onOverhead(-bytes)
  }

  #closeIfEnded(): void {
    if (this.#remoteEnded && this.#localEnded) this.#close('ended')
  }

  #close(how: 'ended' | TunnelLoss): void {
    if (this.#closed) return
    this.#closed = true
    if (how !== 'ended') this.#lost = how
    const receiver = this.#receiver
    this.#receiver = undefined
    this.#early = undefined
    const held = this.unsentBytes
    this.#held = undefined
    if (held > 0) this.#host.onHeld(this, -held)
    // After an end in order the receiver still passes on what it has, and gives that back when it is done.
    if (receiver === undefined || how === 'reset' || how === 'cancelled') this.#consume(this.#unconsumed)
    this.#host.onClosed(this)
    this.#settle()
    if (how !== 'ended') receiver?.onLost(how)
    this.owner?.onStreamClosed(how)
  }
}
