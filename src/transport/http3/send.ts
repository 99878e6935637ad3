/**
 * How much a stream may hand to the HTTP/3 addon. The addon takes 4 MiB of unsent bytes per native thread, and says of
 * a single stream only that it is blocked and, later, that it has room. Left to that, one slow reader would fill the 4
 * MiB and stop every other download; and what QUIC has taken is not limited at all. So there are three brakes:
 *
 *   a window per stream (`send-window.ts`): a stream whose client does not read holds one window;
 *   rooms for users and strangers, divided by user or address (`send-room.ts`), then by session (`send-share.ts`);
 *   a backlog per session (`backlog.ts`): what QUIC has taken and not sent.
 *
 * Bytes are confirmed by marks, which come back when the addon has looked at everything sent before them. When a stream
 * is refused for want of room, every stream asks for its mark: otherwise many small windows, none of them full enough
 * to ask on its own, could hold all the room there is forever.
 */
import type { Clock, Timer } from '../../clock.ts'
import { Backlogs } from './backlog.ts'
import { STRANGER_ROOM_BYTES, SendRoom, USER_ROOM_BYTES } from './send-room.ts'
import { SendShare } from './send-share.ts'
import type { ShareHub, ShareOwner } from './send-share.ts'
import type { SendWindow, WindowPort } from './send-window.ts'
import type { Wire } from './wire.ts'

const TICK_MS = 250
/** How long the addon may refuse everybody before blocked streams are given up. */
const REFUSAL_PATIENCE_MS = 2000
/** How long a client may take nothing of a blocked stream while a session without room waits. */
const STUCK_MS = 1000

/** The windows of all streams of one native server. */
export class SendWindows implements ShareHub {
  readonly port: WindowPort
  readonly clock: Clock
  readonly #shares = new Set<SendShare>()
  readonly #backlogs: Backlogs
  readonly #blocked = new Set<SendWindow>()
  readonly #refused = new Set<SendWindow>()
  /** Windows that have sent bytes which no mark under way covers. */
  readonly #unmarked = new Set<SendWindow>()
  /** Sessions that wait although they have next to nothing. */
  readonly #starving = new Set<SendShare>()
  readonly userRoom = new SendRoom('user', USER_ROOM_BYTES)
  readonly strangerRoom = new SendRoom('stranger', STRANGER_ROOM_BYTES)
  #refusedSince: number | undefined
  #timer: Timer | undefined

  constructor(port: WindowPort, clock: Clock) {
    this.port = port
    this.clock = clock
    this.#backlogs = new Backlogs(clock)
  }

  openSession(wire: Wire, owner: ShareOwner): SendShare {
    const backlog = this.#backlogs.open(wire, () => share.feed())
    const share = new SendShare(this, wire.session, owner, backlog)
    this.#shares.add(share)
    return share
  }

  /** {@link ShareHub} */
  removeSession(share: SendShare): void {
    this.#shares.delete(share)
    this.#starving.delete(share)
  }

  /** {@link ShareHub} */
  addStarving(share: SendShare): void {
    this.#starving.add(share)
    this.#startTimer()
  }

  /** The addon takes data again. */
  onAdmission(): void {
    const refused = [...this.#refused]
    this.#refused.clear()
    for (const window of refused) window.onAdmission()
  }

  /** The addon has taken something. */
  onAdmitted(): void {
    this.#refusedSince = undefined
  }

  addBlocked(window: SendWindow): void {
    this.#blocked.add(window)
    this.#startTimer()
  }

  addRefused(window: SendWindow): void {
    this.#refusedSince ??= this.clock.now()
    this.#refused.add(window)
    this.#startTimer()
  }

  removeBlocked(window: SendWindow): void {
    this.#blocked.delete(window)
  }

  addUnmarked(window: SendWindow): void {
    this.#unmarked.add(window)
  }

  removeUnmarked(window: SendWindow): void {
    this.#unmarked.delete(window)
  }

  /** Somebody needs room: asks for a mark for everything that can be confirmed. */
  markAll(): void {
    for (const window of this.#unmarked) window.askForMark()
  }

  /** The stream is over. */
  remove(window: SendWindow): void {
    this.#blocked.delete(window)
    this.#refused.delete(window)
    this.#unmarked.delete(window)
  }

  destroy(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#backlogs.destroy()
    this.#blocked.clear()
    this.#refused.clear()
    this.#starving.clear()
    this.#unmarked.clear()
    this.#shares.clear()
  }

  #startTimer(): void {
    this.#timer ??= this.clock.every(TICK_MS, () => this.#tick())
  }

  #tick(): void {
    const now = this.clock.now()
    for (const window of this.#blocked) window.onTick(now)
    if (this.#refused.size > 0) this.#retry(now)
    this.#feedStarving(now)
    if (this.#blocked.size > 0 || this.#refused.size > 0 || this.#starving.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** The addon announces room only when half of everything is free, which blocked streams may prevent. */
  #retry(now: number): void {
    if (this.#refusedSince !== undefined && now - this.#refusedSince > REFUSAL_PATIENCE_MS) {
      this.#relieve([...this.#blocked])
      this.#refusedSince = now
    }
    this.onAdmission()
  }

  /** Takes room from sessions whose clients take nothing, for those that have none. */
  #feedStarving(now: number): void {
    const rooms = new Set<SendRoom>()
    for (const share of this.#starving) {
      if (share.isStarving) rooms.add(share.account.room)
      else this.#starving.delete(share)
    }
    if (rooms.size === 0) return
    const stuck = [...this.#blocked].filter((window) => window.isStuckSince(now - STUCK_MS))
    for (const room of rooms) this.#relieve(stuck, room)
  }

  /** Resets the streams among `stuck` of the session that has the most on its way in them. */
  #relieve(stuck: readonly SendWindow[], room?: SendRoom): void {
    const held = new Map<number, number>()
    for (const { session, unconfirmedBytes } of stuck) {
      held.set(session, (held.get(session) ?? 0) + unconfirmedBytes)
    }
    const [worst] = [...this.#shares]
      .filter(({ session, account }) => held.has(session) && (room === undefined || account.room === room))
      .toSorted((a, b) => (held.get(b.session) ?? 0) - (held.get(a.session) ?? 0))
    if (worst === undefined) return
    worst.punish()
    for (const { session, owner } of stuck) if (session === worst.session) owner.onSendStuck()
  }
}
