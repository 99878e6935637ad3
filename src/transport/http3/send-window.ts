/**
 * What one stream may have on its way into QUIC (see `send.ts`):
 *
 *   free     bytes are confirmed by marks that the addon sends back; the window grows while none is late
 *   blocked  nothing is sent until the addon has nothing left to write for this stream
 *
 * A blocked stream therefore holds at most one window.
 */
import type { Clock } from '../../clock.ts'

/**
 * Largest piece given to the addon. Above 16383 the length of a DATA frame takes four bytes instead of two (RFC 9000
 * section 16). When such a piece is cut to what fits, two bytes of capacity are left over, in which no frame fits, and
 * the addon spins on them with a full core and thousands of events per second.
 */
export const MAX_PIECE_BYTES = 16_383

/** What a stream may have on its way before its client has taken anything of it. */
const FIRST_WINDOW_BYTES = MAX_PIECE_BYTES
const MIN_WINDOW_BYTES = 2 * MAX_PIECE_BYTES
const MAX_WINDOW_BYTES = 16 * MAX_PIECE_BYTES
/**
 * How long to wait when the addon has reported room, but not that nothing is left, and is then silent: it may have
 * meant both.
 */
const SILENCE_MS = 250
const TRICKLE_MS = 1000
const MAX_TRICKLE_BYTES = 16 * MAX_PIECE_BYTES

/** The part of the native server that a window needs. */
export interface WindowPort {
  send(session: number, stream: number, chunk: Buffer, fin: boolean): boolean
  mark(session: number, stream: number): boolean
  /** Bytes that the addon holds for all streams of the process. */
  pendingBytes(): number
}

export interface SendOwner {
  /** Sending may continue. */
  onSendReady(): void
  /** The stream holds room that others need, and must be reset. */
  onSendStuck(): void
}

/** A window's view of the share that its session has. */
export interface WindowShare {
  askForRoom(window: SendWindow, bytes: number): boolean
  take(bytes: number): void
  /** `written`: QUIC has taken the bytes, rather than the bytes being given up. */
  release(bytes: number, written: boolean): void
  remove(window: SendWindow): void
}

/** What the windows of one native server share. */
export interface WindowHub {
  readonly port: WindowPort
  readonly clock: Clock
  addBlocked(window: SendWindow): void
  removeBlocked(window: SendWindow): void
  /** The addon is taking nothing at the moment. */
  addRefused(window: SendWindow): void
  /** The addon has taken something. */
  onAdmitted(): void
  /** The window has sent bytes that no mark under way covers. */
  addUnmarked(window: SendWindow): void
  removeUnmarked(window: SendWindow): void
  /** The stream is over. */
  remove(window: SendWindow): void
}

export class SendWindow {
  readonly session: number
  readonly owner: SendOwner
  readonly #hub: WindowHub
  readonly #share: WindowShare
  readonly #stream: number
  #state: 'free' | 'blocked' | 'closed' = 'free'
  #windowBytes = FIRST_WINDOW_BYTES
  /** Bytes sent but not confirmed, and how many of them the mark under way covers. */
  #unconfirmed = 0
  #marked = 0
  #staleMarks = 0
  #trickled = 0
  #mayTrickle = false
  #silentSince: number | undefined
  /** Since when nothing of the stream has been written, while it is blocked. */
  #stuckSince: number | undefined
  #whenTaken: (() => void) | undefined

  constructor(hub: WindowHub, share: WindowShare, session: number, stream: number, owner: SendOwner) {
    this.#hub = hub
    this.#share = share
    this.session = session
    this.#stream = stream
    this.owner = owner
  }

  /** Bytes that were sent and may still be in the addon. */
  get unconfirmedBytes(): number {
    return this.#unconfirmed
  }

  /** The client has taken nothing of a blocked stream since `then`. */
  isStuckSince(then: number): boolean {
    return this.#state === 'blocked' && this.#stuckSince !== undefined && this.#stuckSince <= then
  }

  /** Sends at most {@link MAX_PIECE_BYTES}. False when nothing was taken; `onSendReady` follows. */
  send(piece: Buffer, fin: boolean): boolean {
    if (!this.#isOpen() || !this.#share.askForRoom(this, piece.length) || !this.#hand(piece, fin))
      return false
    if (this.#state === 'free') this.#markWhenHalf()
    return true
  }

  /** Calls `run` once QUIC has taken everything, including the end. Nothing more may be sent. */
  settle(run: () => void): void {
    this.#whenTaken = run
    // The end has no length, and is confirmed as if it were a byte.
    this.#unconfirmed++
    this.#share.take(1)
    this.askForMark()
  }

  onBlocked(): void {
    if (this.#state === 'closed') return
    this.#state = 'blocked'
    if (this.#marked > 0) this.#staleMarks++
    this.#marked = 0
    this.#trickled = 0
    this.#silentSince = undefined
    this.#stuckSince ??= this.#hub.clock.now()
    this.#hub.removeUnmarked(this)
    this.#hub.addBlocked(this)
  }

  onRoom(empty: boolean): void {
    if (this.#state !== 'blocked') return
    this.#stuckSince = this.#hub.clock.now()
    if (empty) this.#unblock()
    else this.#silentSince = this.#stuckSince
  }

  onMark(): void {
    if (this.#staleMarks > 0) {
      this.#staleMarks--
      return
    }
    const confirmed = this.#marked
    this.#marked = 0
    if (this.#state !== 'free') return
    this.#windowBytes = Math.min(Math.max(this.#windowBytes, MIN_WINDOW_BYTES) * 2, MAX_WINDOW_BYTES)
    this.#confirm(Math.min(confirmed, this.#unconfirmed))
    if (this.#whenTaken === undefined) this.#markWhenHalf()
    else this.askForMark()
    this.owner.onSendReady()
  }

  onAdmission(): void {
    if (this.#state !== 'free') return
    this.askForMark()
    this.owner.onSendReady()
  }

  /** {@link WindowHub} */
  onTick(now: number): void {
    if (this.#silentSince === undefined || now - this.#silentSince < SILENCE_MS) return
    if (this.#hub.port.pendingBytes() === 0) return this.#unblock()
    if (this.#trickled >= MAX_TRICKLE_BYTES) return
    // Tries one more piece: if the addon really has written everything, it either blocks or takes the piece, and in the
    // end reports which.
    this.#trickled += MAX_PIECE_BYTES
    this.#silentSince = now + TRICKLE_MS - SILENCE_MS
    this.#mayTrickle = true
    this.owner.onSendReady()
    this.#mayTrickle = false
  }

  /** Asks to be told when what has been sent is confirmed. */
  askForMark(): void {
    this.#hub.removeUnmarked(this)
    if (this.#state !== 'free' || this.#marked > 0 || this.#unconfirmed === 0) return
    if (this.#hub.port.mark(this.session, this.#stream)) this.#marked = this.#unconfirmed
    else this.#hub.addRefused(this)
  }

  close(): void {
    this.#state = 'closed'
    this.#hub.remove(this)
    this.#share.remove(this)
    if (this.#unconfirmed > 0) this.#share.release(this.#unconfirmed, false)
    this.#unconfirmed = 0
  }

  #unblock(): void {
    this.#hub.removeBlocked(this)
    this.#state = 'free'
    this.#stuckSince = undefined
    this.#windowBytes = MIN_WINDOW_BYTES
    this.#confirm(this.#unconfirmed)
    this.owner.onSendReady()
  }

  #confirm(bytes: number): void {
    this.#unconfirmed -= bytes
    this.#share.release(bytes, true)
    if (this.#unconfirmed === 0) this.#whenTaken?.()
  }

  #isOpen(): boolean {
    if (this.#state === 'free') return this.#unconfirmed < this.#windowBytes
    const mayTrickle = this.#mayTrickle
    this.#mayTrickle = false
    return mayTrickle
  }

  #hand(piece: Buffer, fin: boolean): boolean {
    if (!this.#hub.port.send(this.session, this.#stream, piece, fin)) {
      this.#hub.addRefused(this)
      return false
    }
    if (piece.length === 0) return true
    this.#unconfirmed += piece.length
    this.#share.take(piece.length)
    this.#hub.onAdmitted()
    return true
  }

  #markWhenHalf(): void {
    if (this.#marked > 0 || this.#unconfirmed === 0) return
    if (this.#unconfirmed * 2 >= this.#windowBytes) this.askForMark()
    else this.#hub.addUnmarked(this)
  }
}
