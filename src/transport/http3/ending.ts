/**
 * Ends the client's side of streams that we have ended. Some QUIC clients notice the end of a stream only when both
 * sides have ended, so the client's side must be stopped soon after a complete answer. The library can only reset both
 * sides at once, which takes back whatever part of the answer the client does not have yet. So a stream waits here
 * until nothing can be lost any more:
 *
 *   1. QUIC has taken everything (the send window tells);
 *   2. the client has answered a ping that was sent after that;
 *   3. for three round trips nothing else was sent, half of that time after the answer: what was lost is noticed when
 *      something sent later is acknowledged, and sent again little more than a round trip after that. On a session that
 *      is never still, that time must pass twice after everything that was unsent has gone out.
 *
 * On a short path this takes about 60 ms. All waiting streams of a session share the questions that it takes.
 *
 * A session that drains ends in the same way: not before the client has everything, including what was sent on streams
 * that both sides have ended.
 */
import type { Clock, Timer } from '../../clock.ts'
import type { Backlog } from './backlog.ts'
import { H3_NO_ERROR } from './error-codes.ts'
import type { SendWindow } from './send-window.ts'
import type { Wire, WireSample } from './wire.ts'

const TICK_MS = 10
/** Tick while QUIC has not taken everything of any stream. */
const IDLE_MS = 250
/** Sessions asked per tick. */
const MAX_ASKED = 8
/** A client may wait this long before it acknowledges (RFC 9000 section 18.2, `max_ack_delay`), plus a margin. */
const QUIET_BASE_MS = 30
const QUIET_ROUND_TRIPS = 3
/** Size of a ping. Any retransmission is larger. */
const STILL_BYTES = 64
/** Anything below this is acknowledgements, pings and other small packets: if more were waiting, it would be sent. */
const QUIET_BYTES = 2048
const ROUNDS = 2
/** The most that QUIC may hold of one stream: twice the window that clients give it. */
const STREAM_WINDOW_BYTES = 2 * 1024 * 1024
/** How long to wait for a client that does not take the answer; content gets longer. */
const PATIENCE_MS = 30_000
const CONTENT_PATIENCE_MS = 300_000
/** For an answer that is cut short: what has been sent of it should arrive, but it is broken anyway. */
const BREAK_PATIENCE_MS = 250

/** The endings of all sessions of one native server. */
export class Endings {
  readonly clock: Clock
  /** Sessions with waiting streams, the one that has not been asked for longest first. */
  readonly #waiting = new Set<SessionEndings>()
  #timer: Timer | undefined

  constructor(clock: Clock) {
    this.clock = clock
  }

  open(wire: Wire, backlog: Backlog, reset: (stream: number, code: number) => void): SessionEndings {
    return new SessionEndings(this, wire, backlog, reset)
  }

  /** {@link SessionEndings} */
  watch(session: SessionEndings): void {
    this.#waiting.add(session)
    this.#timer ??= this.clock.every(TICK_MS, () => this.#tick())
  }

  unwatch(session: SessionEndings): void {
    this.#waiting.delete(session)
  }

  destroy(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#waiting.clear()
  }

  #tick(): void {
    const now = this.clock.now()
    let asked = 0
    for (const session of this.#waiting) {
      if (asked === MAX_ASKED) break
      if (!session.isDue(now)) continue
      asked++
      this.#waiting.delete(session)
      if (session.onTick(now)) this.#waiting.add(session)
    }
    if (this.#waiting.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }
}

/** What QUIC has taken and the client may not have yet. */
interface Delivery {
  /** A ping that was sent after QUIC had taken everything. */
  ping: number | undefined
  /** How many bytes will have been sent when everything ahead of it is out. */
  outAtBytes: number
  /** Pings that have been answered since then. */
  rounds: number
}

interface Ending extends Delivery {
  readonly window: SendWindow
  /** With which the stream is reset. Undefined when the client has ended its side too. */
  code: number | undefined
  readonly contentBytes: number
  readonly expiresAt: number
  taken: boolean
}

/** Streams of one session that we have ended, until QUIC has taken everything and the client has ended its side. */
export class SessionEndings {
  readonly #all: Endings
  readonly #wire: Wire
  readonly #backlog: Backlog
  readonly #reset: (stream: number, code: number) => void
  readonly #endings = new Map<number, Ending>()
  /** Everything that was sent, once somebody waits until the client has it. */
  #delivery: (Delivery & { readonly run: () => void }) | undefined
  #askAt = 0
  #sentBytes = 0

  constructor(all: Endings, wire: Wire, backlog: Backlog, reset: (stream: number, code: number) => void) {
    this.#all = all
    this.#wire = wire
    this.#backlog = backlog
    this.#reset = reset
  }

  /** `contentBytes`: how much was sent after the head. */
  end(stream: number, window: SendWindow, contentBytes: number): void {
    this.#add(stream, window, H3_NO_ERROR, contentBytes, contentBytes > 0 ? CONTENT_PATIENCE_MS : PATIENCE_MS)
  }

  /** Resets the stream with `code` a little later. */
  breakOff(stream: number, window: SendWindow, code: number): void {
    this.#add(stream, window, code, 0, BREAK_PATIENCE_MS)
  }

  /** Both sides have ended the stream: keeps its window until QUIC has taken everything. */
  finish(stream: number, window: SendWindow): void {
    if (window.unconfirmedBytes === 0) window.close()
    else this.#add(stream, window, undefined, 0, Infinity)
  }

  /** Calls `run` once when the client has everything that was sent. No stream may be open any more. */
  whenDelivered(run: () => void): void {
    this.#delivery = { run, ping: undefined, outAtBytes: Infinity, rounds: 0 }
    this.#askAt = 0
    this.#all.watch(this)
  }

  #add(
    stream: number,
    window: SendWindow,
    code: number | undefined,
    contentBytes: number,
    patienceMs: number,
  ): void {
    const expiresAt = this.#all.clock.now() + patienceMs
    const ending: Ending = {
      window,
      code,
      contentBytes,
      expiresAt,
      taken: false,
      ping: undefined,
      outAtBytes: 0,
      rounds: 0,
    }
    this.#endings.set(stream, ending)
    if (code !== undefined) this.#all.watch(this)
    window.settle(() => {
      ending.taken = true
      this.#askAt = 0
      if (ending.code === undefined) this.forget(stream)
    })
  }

  has(stream: number): boolean {
    return this.#endings.has(stream)
  }

  get isEmpty(): boolean {
    return this.#endings.size === 0
  }

  window(stream: number): SendWindow | undefined {
    return this.#endings.get(stream)?.window
  }

  /** The client has ended its side: there is nothing left to stop. */
  onClientEnd(stream: number): void {
    const ending = this.#endings.get(stream)
    if (ending?.code !== H3_NO_ERROR) return
    ending.code = undefined
    if (ending.taken) this.forget(stream)
  }

  /** The stream is gone. */
  forget(stream: number): void {
    this.#endings.get(stream)?.window.close()
    if (this.#endings.delete(stream) && !this.#isWaiting()) this.#all.unwatch(this)
  }

  close(): void {
    this.#delivery = undefined
    this.#all.unwatch(this)
    for (const stream of this.#endings.keys()) this.forget(stream)
  }

  isDue(now: number): boolean {
    return now >= this.#askAt
  }

  /** True when there is more to wait for. */
  onTick(now: number): boolean {
    const ready = this.#mayDeliver() || this.#endings.values().some(({ taken }) => taken)
    const sample = ready ? this.#wire.sample() : undefined
    this.#askAt = now + (sample === undefined ? IDLE_MS : this.#onSample(sample, now))
    for (const [stream, ending] of this.#endings) if (now >= ending.expiresAt) this.#end(stream, ending)
    return this.#isWaiting()
  }

  #isWaiting(): boolean {
    return this.#endings.size > 0 || this.#delivery !== undefined
  }

  /** Whether somebody waits for the client to have everything, and QUIC has taken all of it. */
  #mayDeliver(): boolean {
    return this.#delivery !== undefined && this.#endings.values().every(({ taken }) => taken)
  }

  /** Samples that count are at least {@link quietMs} apart. Returns after how long to ask again. */
  #onSample(sample: WireSample, now: number): number {
    const waitMs = quietMs(sample)
    const earlyMs = this.#wire.answeredAt + waitMs / 2 - now
    if (earlyMs > 0) return earlyMs
    const { sentBytes } = sample
    const progress = sentBytes - this.#sentBytes
    this.#sentBytes = sentBytes
    let ping: number | undefined
    /** True when the client has it; otherwise asks again. */
    const arrived = (delivery: Delivery): boolean => {
      if (delivery.ping !== undefined) {
        if (this.#wire.answered < delivery.ping) return false
        if (progress < QUIET_BYTES || sentBytes >= delivery.outAtBytes) delivery.rounds++
        if (progress <= STILL_BYTES || delivery.rounds === ROUNDS) return true
      }
      delivery.ping = ping ??= this.#wire.ping()
      return false
    }
    for (const [stream, ending] of this.#endings) {
      if (!ending.taken) continue
      if (ending.ping === undefined) {
        const aheadBytes = this.#backlog.unsentBytes + 2 * Math.min(ending.contentBytes, STREAM_WINDOW_BYTES)
        ending.outAtBytes = sentBytes + aheadBytes
      }
      if (arrived(ending)) this.#end(stream, ending)
    }
    if (this.#delivery !== undefined && this.#mayDeliver() && arrived(this.#delivery)) this.#deliver()
    return waitMs
  }

  #deliver(): void {
    const run = this.#delivery?.run
    this.#delivery = undefined
    run?.()
  }

  #end(stream: number, { code }: Ending): void {
    this.forget(stream)
    if (code !== undefined) this.#reset(stream, code)
  }
}

function quietMs({ rttMs }: WireSample): number {
  return QUIET_BASE_MS + QUIET_ROUND_TRIPS * rttMs
}
