/**
 * How much a stream may hand to the HTTP/3 addon. The addon takes 4 MiB of unsent bytes for all connections
 * together and says of a single stream only that it is blocked and, later, that it has room. Left to that, one
 * slow reader would fill the 4 MiB and stop every other download. So each stream has a window here:
 *
 *   free     bytes are confirmed by marks that the addon sends back; the window grows while none is late
 *   blocked  nothing is sent until the addon has nothing left to write for this stream
 *
 * A blocked stream therefore holds at most one window. When even so the 4 MiB are taken, the session that holds
 * most of them loses its blocked streams.
 */
import type { Clock, Timer } from '../clock.ts'

/**
 * Largest piece given to the addon. Above 16383 the length of a DATA frame takes four bytes instead of two
 * (RFC 9000 section 16); cut to what fits, it leaves two bytes of capacity in which no frame fits, and the addon
 * spins on them with a full core and thousands of events per second.
 */
export const MAX_PIECE_BYTES = 16_383

const MIN_WINDOW_BYTES = 2 * MAX_PIECE_BYTES
const MAX_WINDOW_BYTES = 16 * MAX_PIECE_BYTES
/** Held by blocked streams above this, windows stop growing. */
const CROWDED_BYTES = 1024 * 1024
const TICK_MS = 250
/** Room without the news that nothing is left, and then silence: the addon may have meant both. */
const SILENCE_MS = 250
const TRICKLE_MS = 1000
const MAX_TRICKLE_BYTES = 16 * MAX_PIECE_BYTES
/** How long the addon may refuse everybody before blocked streams are given up. */
const REFUSAL_PATIENCE_MS = 2000

/** The part of the native server that a window needs. */
export interface SendPort {
  send(session: number, stream: number, chunk: Buffer, fin: boolean): boolean
  mark(session: number, stream: number): boolean
  /** Bytes that the addon holds for all streams of the process. */
  pendingBytes(): number
}

export interface SendOwner {
  /** Sending may go on. */
  onSendReady(): void
  /** The stream holds what others need and must be reset. */
  onSendStuck(): void
}

/** The windows of all streams of one native server. */
export class SendWindows {
  readonly port: SendPort
  readonly clock: Clock
  readonly #blocked = new Set<SendWindow>()
  readonly #refused = new Set<SendWindow>()
  #heldBytes = 0
  #refusedSince = 0
  #timer: Timer | undefined

  constructor(port: SendPort, clock: Clock) {
    this.port = port
    this.clock = clock
  }

  open(session: number, stream: number, owner: SendOwner): SendWindow {
    return new SendWindow(this, session, stream, owner)
  }

  get crowded(): boolean {
    return this.#heldBytes > CROWDED_BYTES
  }

  /** The addon admits sends again. */
  onAdmission(): void {
    const refused = [...this.#refused]
    this.#refused.clear()
    for (const window of refused) window.onAdmission()
  }

  addBlocked(window: SendWindow): void {
    this.#blocked.add(window)
    this.#heldBytes += window.heldBytes
    this.#startTimer()
  }

  removeBlocked(window: SendWindow): void {
    if (this.#blocked.delete(window)) this.#heldBytes -= window.heldBytes
  }

  addRefused(window: SendWindow): void {
    if (this.#refused.size === 0) this.#refusedSince = this.clock.now()
    this.#refused.add(window)
    this.#startTimer()
  }

  removeRefused(window: SendWindow): void {
    this.#refused.delete(window)
  }

  destroy(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#blocked.clear()
    this.#refused.clear()
  }

  #startTimer(): void {
    this.#timer ??= this.clock.every(TICK_MS, () => this.#tick())
  }

  #tick(): void {
    const now = this.clock.now()
    for (const window of this.#blocked) window.onTick(now)
    if (this.#refused.size > 0 && now - this.#refusedSince > REFUSAL_PATIENCE_MS) this.#relieve(now)
    if (this.#blocked.size > 0 || this.#refused.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Resets the blocked streams of the session that holds most. */
  #relieve(now: number): void {
    const held = new Map<number, number>()
    for (const { session, heldBytes } of this.#blocked)
      held.set(session, (held.get(session) ?? 0) + heldBytes)
    const [worst] = [...held].reduce((most, entry) => (entry[1] > most[1] ? entry : most), [-1, 0])
    for (const window of this.#blocked) if (window.session === worst) window.owner.onSendStuck()
    this.#refusedSince = now
    this.onAdmission()
  }
}

/** One stream's share. */
export class SendWindow {
  readonly session: number
  readonly owner: SendOwner
  readonly #windows: SendWindows
  readonly #stream: number
  #state: 'free' | 'blocked' | 'closed' = 'free'
  #windowBytes = MIN_WINDOW_BYTES
  /** Sent and not confirmed; of these, what the mark on its way covers. */
  #unconfirmed = 0
  #marked = 0
  #held = 0
  #staleMarks = 0
  #trickled = 0
  #mayTrickle = false
  #silentSince: number | undefined

  constructor(windows: SendWindows, session: number, stream: number, owner: SendOwner) {
    this.#windows = windows
    this.session = session
    this.#stream = stream
    this.owner = owner
  }

  /** What a blocked stream may have in the addon. */
  get heldBytes(): number {
    return this.#held
  }

  /** Sends at most {@link MAX_PIECE_BYTES}. False: nothing was taken, `onSendReady` follows. */
  send(piece: Buffer, fin: boolean): boolean {
    if (!this.#isOpen() || !this.#hand(piece, fin)) return false
    if (this.#state === 'free') this.#markWhenHalf()
    return true
  }

  onBlocked(): void {
    if (this.#state === 'closed') return
    this.#windows.removeBlocked(this)
    this.#state = 'blocked'
    if (this.#marked > 0) this.#staleMarks++
    this.#marked = 0
    this.#held = this.#unconfirmed
    this.#trickled = 0
    this.#silentSince = undefined
    this.#windows.addBlocked(this)
  }

  onRoom(empty: boolean): void {
    if (this.#state !== 'blocked') return
    if (empty) this.#unblock()
    else this.#silentSince = this.#windows.clock.now()
  }

  onMark(): void {
    if (this.#staleMarks > 0) {
      this.#staleMarks--
      return
    }
    const confirmed = this.#marked
    this.#marked = 0
    if (this.#state !== 'free') return
    this.#unconfirmed = Math.max(0, this.#unconfirmed - confirmed)
    if (!this.#windows.crowded) this.#windowBytes = Math.min(this.#windowBytes * 2, MAX_WINDOW_BYTES)
    this.#markWhenHalf()
    this.owner.onSendReady()
  }

  onAdmission(): void {
    if (this.#state !== 'free') return
    this.#markWhenHalf()
    this.owner.onSendReady()
  }

  /** {@link SendWindows} */
  onTick(now: number): void {
    if (this.#silentSince === undefined || now - this.#silentSince < SILENCE_MS) return
    if (this.#windows.port.pendingBytes() === 0) return this.#unblock()
    if (this.#trickled >= MAX_TRICKLE_BYTES) return
    // One piece more: if the addon has really written everything it blocks or takes it, and says so in the end.
    this.#trickled += MAX_PIECE_BYTES
    this.#silentSince = now + TRICKLE_MS - SILENCE_MS
    this.#mayTrickle = true
    this.owner.onSendReady()
    this.#mayTrickle = false
  }

  close(): void {
    this.#windows.removeBlocked(this)
    this.#windows.removeRefused(this)
    this.#state = 'closed'
  }

  #unblock(): void {
    this.#windows.removeBlocked(this)
    this.#state = 'free'
    this.#unconfirmed = 0
    this.#held = 0
    this.#windowBytes = MIN_WINDOW_BYTES
    this.owner.onSendReady()
  }

  #isOpen(): boolean {
    if (this.#state === 'free') return this.#unconfirmed < this.#windowBytes
    const mayTrickle = this.#mayTrickle
    this.#mayTrickle = false
    return mayTrickle
  }

  #hand(piece: Buffer, fin: boolean): boolean {
    if (!this.#windows.port.send(this.session, this.#stream, piece, fin)) {
      this.#windows.addRefused(this)
      return false
    }
    this.#unconfirmed += piece.length
    return true
  }

  #markWhenHalf(): void {
    if (this.#marked > 0 || this.#unconfirmed * 2 < this.#windowBytes) return
    if (this.#windows.port.mark(this.session, this.#stream)) this.#marked = this.#unconfirmed
    else this.#windows.addRefused(this)
  }
}
