/**
 * What the streams of one session may have on their way into QUIC together: half of what the other sessions of its
 * account leave (`send-room.ts`). A user's stream with nothing on its way may exceed that by one piece; otherwise
 * streams whose client has paused them would starve their neighbours.
 */
import type { Backlog } from './backlog.ts'
import { MIN_SHARE_BYTES } from './send-room.ts'
import type { Account, HungryShare, SendRoom } from './send-room.ts'
import { MAX_PIECE_BYTES, SendWindow } from './send-window.ts'
import type { SendOwner, WindowHub, WindowShare } from './send-window.ts'

/** How much of its account one session may fill with streams that have nothing else on their way. */
const MAX_ACCOUNT_PART = 7 / 8
/** What a punished session may have on its way. */
const PUNISHED_SHARE_BYTES = MAX_PIECE_BYTES
/** How much a punished session must take before it is treated like others again. */
const REDEMPTION_BYTES = MIN_SHARE_BYTES

/** Whose session it is. */
export interface ShareOwner {
  readonly address: string
  /** Undefined as long as nobody has authenticated. */
  readonly userOf: () => string | undefined
}

/** What the sessions of one native server share. */
export interface ShareHub extends WindowHub {
  readonly userRoom: SendRoom
  readonly strangerRoom: SendRoom
  /** Somebody needs room: asks for a mark for everything that can be confirmed. */
  markAll(): void
  /** The session waits although it has next to nothing. */
  addStarving(share: SendShare): void
  removeSession(share: SendShare): void
}

export class SendShare implements WindowShare, HungryShare {
  readonly session: number
  readonly backlog: Backlog
  readonly #hub: ShareHub
  readonly #owner: ShareOwner
  #account: Account
  /** Streams of the session that wait for room, the longest waiting first. */
  readonly #hungry = new Set<SendWindow>()
  /** Bytes on their way. */
  bytes = 0
  /** The session has held room that others needed, and must take this much before it gets more than the minimum. */
  #owedBytes = 0

  constructor(hub: ShareHub, session: number, owner: ShareOwner, backlog: Backlog) {
    this.#hub = hub
    this.session = session
    this.#owner = owner
    this.backlog = backlog
    this.#account = hub.strangerRoom.join(owner.address)
  }

  get account(): Account {
    return this.#account
  }

  get isHungry(): boolean {
    return this.#hungry.size > 0
  }

  get isPunished(): boolean {
    return this.#owedBytes > 0
  }

  /** Others hold so much that the session gets nothing, although it has next to nothing itself. */
  get isStarving(): boolean {
    if (!this.isHungry || this.isPunished || this.bytes + MAX_PIECE_BYTES > MIN_SHARE_BYTES) return false
    return !this.#account.mayTake(MAX_PIECE_BYTES)
  }

  open(stream: number, owner: SendOwner): SendWindow {
    return new SendWindow(this.#hub, this, this.session, stream, owner)
  }

  /** Whether `window` may have `bytes` more on their way. If not, it is notified when there is room. */
  askForRoom(window: SendWindow, bytes: number): boolean {
    this.#findAccount()
    if (this.#hasRoom(window.unconfirmedBytes === 0, bytes)) return true
    this.#hungry.add(window)
    this.#account.room.addHungry(this)
    this.#hub.markAll()
    if (this.isStarving) this.#hub.addStarving(this)
    return false
  }

  take(bytes: number): void {
    this.bytes += bytes
    this.#account.add(bytes)
    this.backlog.add(bytes)
  }

  /** `written`: QUIC has taken the bytes, rather than the bytes being given up. */
  release(bytes: number, written: boolean): void {
    const held = Math.min(bytes, this.bytes)
    this.bytes -= held
    this.#account.add(-held)
    if (written) this.#owedBytes = Math.max(0, this.#owedBytes - bytes)
    else this.backlog.drop(bytes)
    this.feed()
    this.#account.room.feed()
  }

  punish(): void {
    this.#owedBytes = REDEMPTION_BYTES
  }

  feed(): void {
    for (const window of this.#hungry) {
      if (!this.#hasRoom(true, MAX_PIECE_BYTES)) return
      if (!this.#hasRoom(window.unconfirmedBytes === 0, MAX_PIECE_BYTES)) continue
      this.#hungry.delete(window)
      window.owner.onSendReady()
    }
  }

  /** The stream is over. */
  remove(window: SendWindow): void {
    this.#hungry.delete(window)
  }

  /** The session is over. */
  close(): void {
    this.backlog.close()
    this.#hungry.clear()
    const { room } = this.#account
    room.removeHungry(this)
    this.#hub.removeSession(this)
    this.#account.add(-this.bytes)
    this.bytes = 0
    room.leave(this.#account)
    room.feed()
  }

  /** Moves to the user's account once there is a user. */
  #findAccount(): void {
    const old = this.#account
    if (old.room.kind === 'user') return
    const user = this.#owner.userOf()
    if (user === undefined) return
    this.#account = this.#hub.userRoom.join(user)
    this.#account.add(this.bytes)
    old.add(-this.bytes)
    old.room.removeHungry(this)
    old.room.leave(old)
    if (this.isHungry) this.#account.room.addHungry(this)
    old.room.feed()
  }

  /** `isFirst`: for a stream that has nothing on its way. */
  #hasRoom(isFirst: boolean, bytes: number): boolean {
    const after = this.bytes + bytes
    if (this.isPunished && after > PUNISHED_SHARE_BYTES) return false
    const account = this.#account
    if (!account.mayTake(bytes)) return false
    const { limitBytes } = account
    const fair = (limitBytes - account.bytes + this.bytes) / 2
    const most = isFirst && account.room.kind === 'user' ? limitBytes * MAX_ACCOUNT_PART : fair
    return after <= Math.max(MIN_SHARE_BYTES, most) && this.backlog.askForRoom(bytes)
  }
}
