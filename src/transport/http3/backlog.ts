/**
 * What QUIC has taken from one session and not sent. QUIC takes twenty congestion windows at a time and, while it
 * probes a client that does not answer, anything; so a client that stops acknowledging would collect as much of our
 * memory as its own windows allow. Here a session may have no more than its allowance unsent.
 *
 * How much has been sent is known only by asking (`wire.ts`), which waits. It is asked once per 8 MiB handed over, and on a tick while much is unsent.
 *
 * The answer counts packets: headers and what was sent twice included, so that the estimate errs to the side of
 * sending more, by as much as is lost on the way. What was handed over and then dropped with its stream errs to the
 * other side, and would stop the session in the end: when nothing is sent any more although the client has just
 * acknowledged a ping, nothing can be left.
 */
import type { Clock, Timer } from '../../clock.ts'
import type { Wire } from './wire.ts'

/** What one session may have unsent. */
export const MAX_BACKLOG_BYTES = 16 * 1024 * 1024
/** When all together have more than {@link TOTAL_BACKLOG_BYTES}. */
export const MIN_BACKLOG_BYTES = 256 * 1024
export const TOTAL_BACKLOG_BYTES = 64 * 1024 * 1024
/** Asked again after so much, however short the time. */
const ASK_BYTES = 8 * 1024 * 1024
const TICK_MS = 20
/** A session that makes no progress is asked less and less often. */
const MAX_WAIT_MS = 1000
/** Sessions asked per tick. */
const MAX_ASKED = 8
/** Less than that is acknowledgements and pings. */
const QUIET_BYTES = 2048

/** Those of all sessions of one native server. */
export class Backlogs {
  readonly clock: Clock
  /** Had something unsent when they were asked; those that were not asked for longest first. */
  readonly #filled = new Set<Backlog>()
  #timer: Timer | undefined
  /** Unsent in all sessions, as far as asked. */
  knownBytes = 0

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** `onRoom`: some of it has been sent. */
  open(wire: Wire, onRoom: () => void): Backlog {
    return new Backlog(this, wire, onRoom)
  }

  get allowanceBytes(): number {
    const fair = (TOTAL_BACKLOG_BYTES - this.knownBytes) / 2
    return Math.min(MAX_BACKLOG_BYTES, Math.max(MIN_BACKLOG_BYTES, fair))
  }

  /** Asks `backlog` on the tick. */
  watch(backlog: Backlog): void {
    this.#filled.add(backlog)
    this.#timer ??= this.clock.every(TICK_MS, () => this.#tick())
  }

  /** Of `backlog`, `before` bytes were known to be unsent and `after` are now. */
  onAnswer(backlog: Backlog, before: number, after: number): void {
    this.knownBytes += after - before
    this.#filled.delete(backlog)
    if (after > 0) this.watch(backlog)
  }

  remove(backlog: Backlog): void {
    this.#filled.delete(backlog)
  }

  destroy(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#filled.clear()
  }

  #tick(): void {
    const now = this.clock.now()
    let asked = 0
    for (const backlog of this.#filled) {
      if (asked === MAX_ASKED) break
      if (backlog.onTick(now)) asked++
    }
    if (this.#filled.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }
}

export class Backlog {
  readonly #all: Backlogs
  readonly #wire: Wire
  readonly #onRoom: () => void
  /** Handed over and not known to be sent. */
  #unsent = 0
  /** The part of it that was there when the session was asked last. */
  #known = 0
  #sentBytes: number | undefined
  #handedSince = 0
  #askAt = 0
  #waitMs = TICK_MS
  /** A ping on its way, and what had been sent before it. */
  #pinged: { readonly ping: number; readonly sentBytes: number } | undefined
  #hungry = false

  constructor(all: Backlogs, wire: Wire, onRoom: () => void) {
    this.#all = all
    this.#wire = wire
    this.#onRoom = onRoom
  }

  /** Handed over and, as far as known, not sent. */
  get unsentBytes(): number {
    return this.#unsent
  }

  /** Whether `bytes` more may be handed over. If not, `onRoom` follows. */
  mayTake(bytes: number): boolean {
    const after = this.#unsent + bytes
    if (after <= MIN_BACKLOG_BYTES) return true
    if (after > this.#all.allowanceBytes / 2) this.#askWhenDue()
    if (this.#unsent + bytes <= this.#all.allowanceBytes) return true
    this.#hungry = true
    this.#all.watch(this)
    return false
  }

  add(bytes: number): void {
    this.#unsent += bytes
    this.#handedSince += bytes
  }

  /** Handed over, and never to be sent. */
  drop(bytes: number): void {
    this.#unsent = Math.max(0, this.#unsent - bytes)
  }

  /** True when the session was asked. */
  onTick(now: number): boolean {
    if (now < this.#askAt) return false
    this.#ask(now)
    this.#tellRoom()
    return true
  }

  /** The wire has an answer to a ping. */
  onPing(): void {
    const pinged = this.#pinged
    if (pinged === undefined || this.#wire.answered < pinged.ping) return
    this.#pinged = undefined
    this.#ask(this.#all.clock.now())
    if (this.#sentBytes !== undefined && this.#sentBytes - pinged.sentBytes < QUIET_BYTES) this.#setUnsent(0)
    this.#tellRoom()
  }

  close(): void {
    this.#setUnsent(0)
    this.#all.remove(this)
  }

  #askWhenDue(): void {
    const now = this.#all.clock.now()
    if (this.#handedSince >= ASK_BYTES || now >= this.#askAt) this.#ask(now)
  }

  #ask(now: number): void {
    const sent = this.#wire.sample()?.sentBytes
    this.#handedSince = 0
    if (sent === undefined) {
      this.#askAt = now + MAX_WAIT_MS
      return
    }
    const progress = sent - (this.#sentBytes ?? 0)
    this.#sentBytes = sent
    if (progress >= QUIET_BYTES) this.#waitMs = TICK_MS
    else this.#onQuiet(sent)
    this.#askAt = now + this.#waitMs
    this.#setUnsent(Math.max(0, this.#unsent - progress))
  }

  /** Nothing has been sent between two questions. */
  #onQuiet(sent: number): void {
    this.#waitMs = Math.min(2 * this.#waitMs, MAX_WAIT_MS)
    this.#pinged ??= { ping: this.#wire.ping(), sentBytes: sent }
  }

  #setUnsent(bytes: number): void {
    this.#unsent = bytes
    this.#all.onAnswer(this, this.#known, bytes)
    this.#known = bytes
  }

  #tellRoom(): void {
    if (!this.#hungry || this.#unsent * 2 > this.#all.allowanceBytes) return
    this.#hungry = false
    this.#onRoom()
  }
}
