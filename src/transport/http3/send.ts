/**
 * How much a stream may hand to the HTTP/3 addon. The addon takes 4 MiB of unsent bytes for all connections
 * together and says of a single stream only that it is blocked and, later, that it has room. Left to that, one
 * slow reader would fill the 4 MiB and stop every other download. So each stream has a window here:
 *
 *   free     bytes are confirmed by marks that the addon sends back; the window grows while none is late
 *   blocked  nothing is sent until the addon has nothing left to write for this stream
 *
 * A blocked stream therefore holds at most one window. The streams of one session together get a share that
 * shrinks as the 4 MiB fill up (half of what is left), so that some is always left for others; a stream with
 * nothing on its way may go beyond it by one piece, or paused streams would starve their neighbours. When even so
 * everything is taken, the session that has most of it loses its blocked streams.
 */
import type { Clock, Timer } from '../../clock.ts'

/**
 * Largest piece given to the addon. Above 16383 the length of a DATA frame takes four bytes instead of two
 * (RFC 9000 section 16); cut to what fits, it leaves two bytes of capacity in which no frame fits, and the addon
 * spins on them with a full core and thousands of events per second.
 */
export const MAX_PIECE_BYTES = 16_383

const MIN_WINDOW_BYTES = 2 * MAX_PIECE_BYTES
const MAX_WINDOW_BYTES = 16 * MAX_PIECE_BYTES
/** What the addon takes for all streams of a server. */
const CAPACITY_BYTES = 4 * 1024 * 1024
const MIN_SHARE_BYTES = 2 * MAX_PIECE_BYTES
/** No session gets more, whatever the number of its streams. */
const MAX_SHARE_BYTES = CAPACITY_BYTES / 2
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

/** What one session has on its way. */
interface Share {
  bytes: number
  /** Its streams that wait for it to become less. */
  readonly hungry: Set<SendWindow>
  /** It has cost others their turn, and gets the minimum until something of it has been written. */
  punished: boolean
}

/** The windows of all streams of one native server. */
export class SendWindows {
  readonly port: SendPort
  readonly clock: Clock
  readonly #shares = new Map<number, Share>()
  readonly #blocked = new Set<SendWindow>()
  readonly #refused = new Set<SendWindow>()
  #totalBytes = 0
  #refusedSince = 0
  #timer: Timer | undefined

  constructor(port: SendPort, clock: Clock) {
    this.port = port
    this.clock = clock
  }

  open(session: number, stream: number, owner: SendOwner): SendWindow {
    return new SendWindow(this, session, stream, owner)
  }

  /** Whether `window` may have `bytes` more on their way. If not, it is told when its session has less. */
  mayTake(window: SendWindow, bytes: number): boolean {
    const share = this.#shares.get(window.session)
    if (share === undefined) return true
    const limit = share.punished ? 0 : (CAPACITY_BYTES - this.#totalBytes) / 2
    const after = share.bytes + bytes
    if (after <= Math.min(MAX_SHARE_BYTES, Math.max(MIN_SHARE_BYTES, limit))) return true
    if (window.unconfirmedBytes === 0 && after <= MAX_SHARE_BYTES && !share.punished) return true
    share.hungry.add(window)
    return false
  }

  take(session: number, bytes: number): void {
    const share = this.#shares.get(session)
    if (share === undefined) this.#shares.set(session, { bytes, hungry: new Set(), punished: false })
    else share.bytes += bytes
    this.#totalBytes += bytes
  }

  /** `written`: it has gone out, and not just been given up. */
  release(session: number, bytes: number, written: boolean): void {
    const share = this.#shares.get(session)
    if (share === undefined) return
    share.bytes -= bytes
    this.#totalBytes -= bytes
    if (written) share.punished = false
    const hungry = [...share.hungry]
    share.hungry.clear()
    if (share.bytes <= 0 && hungry.length === 0) this.#shares.delete(session)
    for (const window of hungry) window.owner.onSendReady()
  }

  /** The addon admits sends again. */
  onAdmission(): void {
    const refused = [...this.#refused]
    this.#refused.clear()
    for (const window of refused) window.onAdmission()
  }

  addBlocked(window: SendWindow): void {
    this.#blocked.add(window)
    this.#startTimer()
  }

  addRefused(window: SendWindow): void {
    if (this.#refused.size === 0) this.#refusedSince = this.clock.now()
    this.#refused.add(window)
    this.#startTimer()
  }

  removeBlocked(window: SendWindow): void {
    this.#blocked.delete(window)
  }

  /** The stream is over. */
  remove(window: SendWindow): void {
    this.#blocked.delete(window)
    this.#refused.delete(window)
    this.#shares.get(window.session)?.hungry.delete(window)
  }

  destroy(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#blocked.clear()
    this.#refused.clear()
    this.#shares.clear()
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

  /** Resets the blocked streams of the session that has most on its way. */
  #relieve(now: number): void {
    const [worst] = [...this.#shares].toSorted((a, b) => b[1].bytes - a[1].bytes)
    if (worst !== undefined) {
      worst[1].punished = true
      const stuck = [...this.#blocked].filter(({ session }) => session === worst[0])
      for (const { owner } of stuck) owner.onSendStuck()
    }
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

  /** Sent, and perhaps still in the addon. */
  get unconfirmedBytes(): number {
    return this.#unconfirmed
  }

  /** Sends at most {@link MAX_PIECE_BYTES}. False: nothing was taken, `onSendReady` follows. */
  send(piece: Buffer, fin: boolean): boolean {
    if (!this.#isOpen() || !this.#windows.mayTake(this, piece.length) || !this.#hand(piece, fin)) return false
    if (this.#state === 'free') this.#markWhenHalf()
    return true
  }

  onBlocked(): void {
    if (this.#state === 'closed') return
    this.#state = 'blocked'
    if (this.#marked > 0) this.#staleMarks++
    this.#marked = 0
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
    this.#windowBytes = Math.min(this.#windowBytes * 2, MAX_WINDOW_BYTES)
    this.#confirm(Math.min(confirmed, this.#unconfirmed))
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
    this.#state = 'closed'
    this.#windows.remove(this)
    if (this.#unconfirmed > 0) this.#windows.release(this.session, this.#unconfirmed, false)
    this.#unconfirmed = 0
  }

  #unblock(): void {
    this.#windows.removeBlocked(this)
    this.#state = 'free'
    this.#windowBytes = MIN_WINDOW_BYTES
    this.#confirm(this.#unconfirmed)
    this.owner.onSendReady()
  }

  #confirm(bytes: number): void {
    this.#unconfirmed -= bytes
    this.#windows.release(this.session, bytes, true)
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
    this.#windows.take(this.session, piece.length)
    return true
  }

  #markWhenHalf(): void {
    if (this.#marked > 0 || this.#unconfirmed * 2 < this.#windowBytes) return
    if (this.#windows.port.mark(this.session, this.#stream)) this.#marked = this.#unconfirmed
    else this.#windows.addRefused(this)
  }
}
