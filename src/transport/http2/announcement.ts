/** Our SETTINGS: to strangers those of nginx or of the file, more once a user has authenticated (RFC 9113 section 6.5). */
import type { Clock } from '../../clock.ts'
import { settingsBytes, writeSettings } from '../../wire/http2/frame-writer.ts'
import { DEFAULT_WINDOW_BYTES, Setting } from '../../wire/http2/protocol.ts'
import type { HeadLimits } from './head-reader.ts'
import type { Output } from './output.ts'
import type { Streams } from './streams.ts'

export interface Http2Options {
  readonly announced: {
    readonly maxConcurrentStreams: number
    readonly streamWindowBytes: number
    readonly sessionWindowBytes: number
    readonly maxFrameBytes: number
    /** Left out of SETTINGS when undefined. */
    readonly maxHeaderListBytes: number | undefined
  }
  readonly heads: HeadLimits
  /** What holds for users; never less than what is announced first. */
  readonly trusted: {
    readonly maxConcurrentStreams: number
    readonly streamWindowBytes: number
  }
}

/** How long a user's client may take to acknowledge. Others are given no limit, since nginx has none. */
const ACKNOWLEDGE_MS = 60_000

export class Announcement {
  readonly #options: Http2Options
  readonly #output: Output
  readonly #clock: Clock
  #unacknowledged = 0
  #trustedAt: number | undefined

  constructor(options: Http2Options, output: Output, clock: Clock) {
    this.#options = options
    this.#output = output
    this.#clock = clock
  }

  /** The first frames of the connection, in nginx's order. */
  send(streams: Streams): void {
    const { announced } = this.#options
    const settings: [number, number][] = [
      [Setting.MAX_CONCURRENT_STREAMS, announced.maxConcurrentStreams],
      [Setting.INITIAL_WINDOW_SIZE, announced.streamWindowBytes],
      [Setting.MAX_FRAME_SIZE, announced.maxFrameBytes],
    ]
    if (announced.maxHeaderListBytes !== undefined)
      settings.push([Setting.MAX_HEADER_LIST_SIZE, announced.maxHeaderListBytes])
    this.#send(settings)
    const more = announced.sessionWindowBytes - DEFAULT_WINDOW_BYTES
    if (more > 0) streams.sendWindowUpdate(0, more)
  }

  /** Takes effect at once: a client that does not know yet uses less. */
  sendTrusted(streams: Streams): void {
    const { maxConcurrentStreams, streamWindowBytes } = this.#options.trusted
    const { announced } = this.#options
    const settings: [number, number][] = []
    if (maxConcurrentStreams > announced.maxConcurrentStreams)
      settings.push([Setting.MAX_CONCURRENT_STREAMS, maxConcurrentStreams])
    if (streamWindowBytes > announced.streamWindowBytes)
      settings.push([Setting.INITIAL_WINDOW_SIZE, streamWindowBytes])
    if (settings.length === 0) return
    streams.limit = maxConcurrentStreams
    streams.raiseReceiveWindow(streamWindowBytes)
    this.#trustedAt = this.#clock.now()
    this.#send(settings)
  }

  onAcknowledged(): void {
    this.#unacknowledged = Math.max(0, this.#unacknowledged - 1)
  }

  isOverdue(now: number): boolean {
    if (this.#trustedAt === undefined || this.#unacknowledged === 0) return false
    return now - this.#trustedAt > ACKNOWLEDGE_MS
  }

  #send(settings: readonly (readonly [number, number])[]): void {
    this.#unacknowledged++
    this.#output.urgent(settingsBytes(settings.length), (into, at) => writeSettings(into, at, settings))
  }
}
