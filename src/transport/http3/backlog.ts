/**
 * What QUIC has taken from one session and not sent. QUIC takes twenty congestion windows at a time and, while it
 * probes a client that does not answer, any amount; so a client that stops acknowledging could make us hold as much
 * memory as its own windows allow. Here a session may only have its allowance unsent.
 *
 * How much has been sent can only be found out by asking (`wire.ts`), which waits. So we ask once per 8 MiB handed
 * over, and on a tick while much is unsent.
 *
 * The answer counts packets, including headers and retransmissions, so the estimate errs towards sending more, by as
 * much as is lost on the way. What was handed over and then dropped with its stream errs in the other direction, and
 * would stop the session in the end; but when nothing is sent any more although the client has just acknowledged a
 * ping, nothing can be left.
 */
import type { Clock, Timer } from '../../clock.ts'
import type { Wire } from './wire.ts'

/** How much one session may have unsent. */
export const MAX_BACKLOG_BYTES = 16 * 1024 * 1024
/** The same when all sessions together have more than {@link TOTAL_BACKLOG_BYTES}. */
export const MIN_BACKLOG_BYTES = 256 * 1024
export const TOTAL_BACKLOG_BYTES = 64 * 1024 * 1024
/** Ask again after this much, however little time has passed. */
const ASK_BYTES = 8 * 1024 * 1024
const TICK_MS = 20
/** A session that makes no progress is asked less and less often. */
const MAX_WAIT_MS = 1000
/** Sessions asked per tick. */
const MAX_ASKED = 8
/** Anything below this is acknowledgements and pings. */
const QUIET_BYTES = 2048

/** The backlogs of all sessions of one native server. */
export class Backlogs {
  readonly clock: Clock
  /** Sessions that had something unsent when last asked, the one that has not been asked for longest first. */
  readonly #filled = new Set<Backlog>()
  #timer: Timer | undefined
  /** Unsent bytes in all sessions, as of the last answers. */
  knownBytes = 0

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** `onRoom` is called when some of it has been sent. */
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

  /** `before` bytes of `backlog` were known to be unsent; now it is `after`. */
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
  /** Bytes handed over and not known to have been sent. */
  #unsent = 0
  /** How many of them were there when the session was last asked. */
  #known = 0
  #sentBytes: number | undefined
  #handedSince = 0
  #askAt = 0
  #waitMs = TICK_MS
  /** A ping under way, and how much had been sent before it. */
  #pinged: { readonly ping: number; readonly sentBytes: number } | undefined
  #hungry = false

  constructor(all: Backlogs, wire: Wire, onRoom: () => void) {
    this.#all = all
    this.#wire = wire
    this.#onRoom = onRoom
  }

  /** Bytes handed over and, as far as known, not sent. */
  get unsentBytes(): number {
    return this.#unsent
  }

  /** True when `bytes` more may be handed over. If not, `onRoom` follows. May ask the session, which waits. */
  askForRoom(bytes: number): boolean {
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

  /** These bytes were handed over and will never be sent. */
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

  /** A ping of this session has been answered. */
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

  /** Nothing was sent between two questions. */
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
