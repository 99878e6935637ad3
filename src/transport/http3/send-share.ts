/**
 * What the streams of one session may have on their way into QUIC together: half of what is left of the addon's
 * capacity, so that some is always left for other sessions. A stream with nothing on its way may exceed that by one
 * piece; otherwise streams whose client has paused them would starve their neighbours.
 */
import type { Backlog } from './backlog.ts'
import { MAX_PIECE_BYTES, SendWindow } from './send-window.ts'
import type { SendOwner, WindowHub, WindowShare } from './send-window.ts'

/** How much the addon takes. */
const CAPACITY_BYTES = 4 * 1024 * 1024
const MIN_SHARE_BYTES = 2 * MAX_PIECE_BYTES
/** No session gets more, however many streams it has. */
const MAX_SHARE_BYTES = CAPACITY_BYTES / 2

/** What the sessions of one native server share. */
export interface ShareHub extends WindowHub {
  /** Bytes on their way, in all sessions. */
  totalBytes: number
  /** Somebody needs room: asks for a mark for everything that can be confirmed. */
  markAll(): void
  removeSession(share: SendShare): void
}

export class SendShare implements WindowShare {
  readonly session: number
  readonly backlog: Backlog
  readonly #hub: ShareHub
  /** Streams of the session that wait for room, the longest waiting first. */
  readonly #hungry = new Set<SendWindow>()
  /** Bytes on their way. */
  bytes = 0
  /** The session has cost others their turn, and gets the minimum until something of it has been written. */
  punished = false

  constructor(hub: ShareHub, session: number, backlog: Backlog) {
    this.#hub = hub
    this.session = session
    this.backlog = backlog
  }

  open(stream: number, owner: SendOwner): SendWindow {
    return new SendWindow(this.#hub, this, this.session, stream, owner)
  }

  /** True when `window` may have `bytes` more on their way. If not, it is notified when there is room. */
  askForRoom(window: SendWindow, bytes: number): boolean {
    if (this.#tryRoom(window, bytes)) return true
    this.#hungry.add(window)
    this.#hub.markAll()
    return false
  }

  take(bytes: number): void {
    this.bytes += bytes
    this.#hub.totalBytes += bytes
    this.backlog.add(bytes)
  }

  /** `written`: QUIC has taken the bytes, rather than the bytes being given up. */
  release(bytes: number, written: boolean): void {
    this.bytes -= bytes
    this.#hub.totalBytes -= bytes
    if (written) this.punished = false
    else this.backlog.drop(bytes)
    this.feed()
  }

  /** Notifies waiting streams as long as there is room. */
  feed(): void {
    for (const window of this.#hungry) {
      if (!this.#tryRoom(window, MAX_PIECE_BYTES)) continue
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
    this.#hub.removeSession(this)
  }

  #tryRoom(window: SendWindow, bytes: number): boolean {
    const after = this.bytes + bytes
    const fair = this.punished ? 0 : (CAPACITY_BYTES - this.#hub.totalBytes) / 2
    const limit =
      window.unconfirmedBytes === 0 && !this.punished ? MAX_SHARE_BYTES : Math.max(MIN_SHARE_BYTES, fair)
    return after <= Math.min(MAX_SHARE_BYTES, limit) && this.backlog.askForRoom(bytes)
  }
}
