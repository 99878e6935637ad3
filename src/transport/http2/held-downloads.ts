/**
 * What targets have sent and clients have left no room for, on the streams of one session. A stream holds at most one
 * read of its target, but a session may have a thousand. When they hold too much together, no further target is read;
 * a client that makes new streams hold even more, or lets nothing through for long, loses them.
 */
import type { Http2Stream } from './stream.ts'

/** What one session may hold before its targets are no longer read, and before streams are reset. */
const SESSION_BYTES = { stop: 8_388_608, reset: 33_554_432 } as const
/** The same for all sessions of a lane together; then those count that hold more than this share. */
const LANE_BYTES = { stop: 134_217_728, reset: 268_435_456 } as const
const SHARE_BYTES = 1_048_576
/** How long a stream may hold bytes without letting any of them go. The number is nginx's `send_timeout`. */
const STALL_MS = 60_000

/** Of a lane. */
export class DownloadBudget {
  heldBytes = 0
}

interface Stall {
  readonly mark: object
  readonly bytes: number
  readonly since: number
}

export class HeldDownloads {
  readonly #lane: DownloadBudget
  #bytes = 0
  /** Streams whose targets are not read, in the order in which they were stopped; undefined while all are. */
  #stopped: Set<Http2Stream> | undefined
  /** Streams that held something at the last look. */
  #stalls = new Map<Http2Stream, Stall>()

  constructor(lane: DownloadBudget) {
    this.#lane = lane
  }

  /** No further target is to be read. */
  get isStopping(): boolean {
    return this.#stopped !== undefined
  }

  /** @param bytes how much more is held, below 0 when it is less. @param streams all of the session. */
  change(bytes: number, streams: Iterable<Http2Stream>): void {
    this.#bytes += bytes
    this.#lane.heldBytes += bytes
    if (bytes < 0) this.#relax()
    else if (this.#stopped === undefined && this.#exceeds('stop')) this.#stop(streams)
  }

  /** A stream that begins to hold something now must not be kept. */
  get isExceeded(): boolean {
    return this.#exceeds('reset')
  }

  /** The target of this stream waits until less is held. Only while {@link isStopping}. */
  keepStopped(stream: Http2Stream): void {
    this.#stopped?.add(stream)
  }

  onClosed(stream: Http2Stream): void {
    this.#stopped?.delete(stream)
    this.#stalls.delete(stream)
  }

  /** Called about once a second. Gives the streams that have let nothing go for too long. */
  stalled(now: number, streams: Iterable<Http2Stream>, isTrusted: boolean): Http2Stream[] {
    this.#relax()
    if (this.#bytes === 0 && this.#stalls.size === 0) return []
    const before = this.#stalls
    this.#stalls = new Map()
    const due: Http2Stream[] = []
    for (const stream of streams) {
      const { held: mark, unsentBytes: bytes } = stream
      if (mark === undefined) continue
      const last = before.get(stream)
      const since = last?.mark === mark && last.bytes === bytes ? last.since : now
      this.#stalls.set(stream, { mark, bytes, since })
      if (now - since >= STALL_MS) due.push(stream)
    }
    // A user's application may let a download wait for hours; that is its own affair until memory is short.
    return isTrusted && !this.isStopping ? [] : due
  }

  /** The session is over. */
  close(): void {
    this.#lane.heldBytes -= this.#bytes
    this.#bytes = 0
    this.#stopped = undefined
    this.#stalls.clear()
  }

  #exceeds(limit: 'stop' | 'reset'): boolean {
    if (this.#bytes > SESSION_BYTES[limit]) return true
    return this.#lane.heldBytes > LANE_BYTES[limit] && this.#bytes > SHARE_BYTES
  }

  #stop(streams: Iterable<Http2Stream>): void {
    this.#stopped = new Set()
    for (const stream of streams) if (stream.stopTarget()) this.#stopped.add(stream)
  }

  /** All go on when half of what was too much has gone. */
  #relax(): void {
    const stopped = this.#stopped
    if (stopped === undefined || this.#bytes > SESSION_BYTES.stop / 2) return
    if (this.#lane.heldBytes > LANE_BYTES.stop / 2 && this.#bytes > SHARE_BYTES / 2) return
    this.#stopped = undefined
    for (const stream of stopped) stream.resumeTarget()
  }
}
