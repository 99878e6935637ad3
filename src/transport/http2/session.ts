/** One HTTP/2 connection as a session: its TLS socket, its times, and its end. */
import { randomBytes } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { Clock, Timer } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import { isRevocation } from '../../errors.ts'
import type { Session } from '../../contract/session.ts'
import type { AcceptSession, SessionListener } from '../../contract/session-listener.ts'
import { PING_BYTES, writePing } from '../../wire/http2/frame-writer.ts'
import { ErrorCode, MAX_STREAM_ID } from '../../wire/http2/protocol.ts'
import type { LingerQueue } from '../linger.ts'
import { AUTHENTICATION_REQUIRED, SessionLife } from '../session-life.ts'
import type { SlabPool } from '../slab-pool.ts'
import type { TransportConnection } from '../tls.ts'
import { AnswerHeads } from './answer-heads.ts'
import { Announcement } from './announcement.ts'
import type { Http2Options } from './announcement.ts'
import { Http2Connection } from './connection.ts'
import type { ConnectionEvents } from './connection.ts'
import type { DownloadBudget } from './held-downloads.ts'
import type { Http2Limit } from './budgets.ts'
import { Http2Connect, Http2Plain } from './exchange.ts'
import type { ExchangeHost } from './exchange.ts'
import { Output, RECORD_PAYLOAD_BYTES } from './output.ts'
import type { RequestHead } from './request-head.ts'
import { PeerSettings } from './settings.ts'
import { Streams } from './streams.ts'
import type { Http2Stream } from './stream.ts'
import { SessionTimes } from './session-times.ts'
import { WindowGrowth } from './window-growth.ts'
import type { UploadBudget } from './window-growth.ts'

/** What the sessions of a lane share. */
export interface Http2Dependencies {
  readonly clock: Clock
  readonly counters: Counters
  readonly acceptSession: AcceptSession
  readonly slabs: SlabPool
}

export interface SessionShares {
  readonly linger: LingerQueue
  readonly uploads: UploadBudget
  readonly downloads: DownloadBudget
  /** The session is over. */
  onEnd(session: Http2Session): void
}

/** nginx's `http2_chunk_size`. */
const VISITOR_FRAME_BYTES = 8192
/** How long a session that failed may take for its last frames. */
const FAILED_GOODBYE_MS = 2000
/** The same for a session that ends in order: it may still be sending the end of its last stream to a slow client. */
const GOODBYE_MS = 30_000
/** How long the client may take to close its side afterwards: nginx's `lingering_timeout`. */
const LINGER_MS = 5000
/** Between the two steps of a drain, at most: the client's latest requests arrive meanwhile (RFC 9113 section 6.8). */
const DRAIN_NOTICE_MS = 1000

export class Http2Session extends SessionLife implements Session, ConnectionEvents, ExchangeHost {
  readonly id
  override readonly protocol = 'HTTP2'
  readonly channel
  readonly remoteAddress
  readonly remotePort
  readonly serverName
  readonly answers: AnswerHeads
  readonly linger: LingerQueue
  readonly #socket: TLSSocket
  readonly #deps: Http2Dependencies
  readonly #shares: SessionShares
  readonly #output: Output
  readonly #streams: Streams
  readonly #growth: WindowGrowth
  readonly #connection: Http2Connection
  readonly #announcement: Announcement
  readonly #times: SessionTimes
  #listener: SessionListener | undefined
  #goodbye: Timer | undefined
  /** Between the two steps of a drain. */
  #notice: Timer | undefined
  /** Of the PING that separates the two steps of a drain. */
  #drainMark: Buffer | undefined
  #isEnding = false

  constructor(
    connection: TransportConnection,
    options: Http2Options,
    deps: Http2Dependencies,
    shares: SessionShares,
  ) {
    super(deps.clock, deps.counters)
    this.id = connection.id
    this.channel = connection.channel
    this.remoteAddress = connection.remoteAddress
    this.remotePort = connection.remotePort
    this.serverName = connection.serverName
    this.linger = shares.linger
    this.#socket = connection.socket
    this.#deps = deps
    this.#shares = shares
    const { clock } = deps
    this.#output = new Output(connection.socket, deps.slabs, VISITOR_FRAME_BYTES, {
      onOverflow: () => this.#cutOff('unread_answers'),
    })
    this.#growth = new WindowGrowth(clock, shares.uploads, () => this.#sendPing(GROWTH_MARK))
    this.#announcement = new Announcement(options, this.#output, clock)
    this.#streams = new Streams(
      { ...options.announced, limit: options.announced.maxConcurrentStreams },
      {
        output: this.#output,
        growth: this.#growth,
        uploads: shares.uploads,
        downloads: shares.downloads,
        onStuckDownload: (why) => deps.counters.count('http2_stuck_downloads', why),
        onLastClosed: () => this.#onLastClosed(),
      },
    )
    const settings = new PeerSettings(this.#streams, this.#output)
    this.answers = new AnswerHeads(this.#output, settings)
    this.#connection = new Http2Connection({
      clock,
      output: this.#output,
      streams: this.#streams,
      settings,
      maxFrameBytes: options.announced.maxFrameBytes,
      heads: options.heads,
      events: this,
    })
    this.#times = new SessionTimes(clock.now())
  }

  get session(): this {
    return this
  }

  get openStreams(): number {
    return this.#streams.size
  }

  listen(): void {
    this.#listener = this.#deps.acceptSession(this)
    this.#announcement.send(this.#streams)
    const socket = this.#socket
    socket.on('error', (error) => this.fail(error))
    // The socket allows half-open for the sake of HTTP/1.1 tunnels; HTTP/2 has no use for half a connection.
    socket.once('end', () => socket.destroy())
    socket.once('close', () => this.#onClose())
    socket.on('data', (chunk: Buffer) => this.#connection.receive(chunk))
  }

  override trust(): void {
    if (this.#connection.isTrusted) return
    this.#connection.isTrusted = true
    this.#output.frameBytes = RECORD_PAYLOAD_BYTES
    this.#output.mayUseLargeBlocks = true
    this.#growth.enable()
    this.#announcement.sendTrusted(this.#streams)
    this.#times.trust()
  }

  // From the connection.

  onRequest(stream: Http2Stream, head: RequestHead): void {
    this.#times.onRequest()
    const Kind = head.method === 'CONNECT' && head.refusal === undefined ? Http2Connect : Http2Plain
    this.#listener?.onExchange(new Kind(this, stream, head))
  }

  onFailed(code: number, limit: Http2Limit | undefined): void {
    if (limit !== undefined) this.#deps.counters.count('http2_limits_met', limit)
    // The end of a visit is no error.
    if (code !== ErrorCode.NO_ERROR || limit !== undefined)
      this.fail(new Error(`protocol error, code ${code}${limit === undefined ? '' : `, ${limit}`}`))
    this.#finish(FAILED_GOODBYE_MS)
  }

  onSettingsAcknowledged(): void {
    this.#announcement.onAcknowledged()
  }

  onPause(): void {
    this.#socket.pause()
  }

  onResume(): void {
    this.#socket.resume()
  }

  onStuckUpload(): void {
    this.#deps.counters.count('http2_stuck_uploads')
  }

  onPong(content: Buffer): void {
    if (content.equals(GROWTH_MARK)) this.#growth.onPong()
    else if (this.#drainMark?.equals(content)) this.#sayLastGoaway()
  }

  /** Called about once a second. */
  check(now: number): void {
    if (this.#isEnding) return
    const due = this.#times.due(now, this.#output)
    if (due === 'stalled') this.#cutOff('stalled_output')
    else if (due === 'visit_over')
      this.#connection.fail(this.#connection.isIncomplete ? ErrorCode.PROTOCOL_ERROR : ErrorCode.NO_ERROR)
    else if (this.#announcement.isOverdue(now))
      this.#connection.fail(ErrorCode.SETTINGS_TIMEOUT, 'settings_timeout')
    else this.#streams.check(now, this.#connection.isTrusted)
  }

  // The end.

  protected override onDrain(): void {
    // nginx says it once.
    if (this.#streams.size === 0 || !this.#connection.isTrusted) return this.#sayLastGoaway()
    this.#connection.sendGoaway(ErrorCode.NO_ERROR, MAX_STREAM_ID)
    this.#drainMark = randomBytes(8)
    this.#sendPing(this.#drainMark)
    this.#notice = this.#deps.clock.after(DRAIN_NOTICE_MS, () => this.#sayLastGoaway())
  }

  protected override onDestroy(reason: Error): void {
    if (isRevocation(reason) && !this.#isEnding) this.#revoke()
    else this.#socket.destroy()
  }

  /** The one end at which the client learns the reason. */
  #revoke(): void {
    this.#connection.sendGoaway(AUTHENTICATION_REQUIRED)
    this.#connection.stop('cancelled')
    this.#finish(FAILED_GOODBYE_MS)
  }

  #sayLastGoaway(): void {
    if (this.#connection.saidGoaway || this.#isEnding) return
    this.#connection.sendGoaway(ErrorCode.NO_ERROR)
    if (this.#streams.size === 0) this.#finish(GOODBYE_MS)
  }

  #onLastClosed(): void {
    if (this.#connection.saidGoaway) this.#finish(GOODBYE_MS)
    else this.#times.onIdle(this.#deps.clock.now())
  }

  /** What was put out leaves, then our half ends, then the client has a moment to end its own. */
  #finish(limitMs: number): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.drain()
    this.#goodbye = this.#deps.clock.after(limitMs, () => this.#socket.destroy())
    this.#output.whenEmpty(() => {
      // Acknowledgements and credit that come later have no place on a side that has ended.
      this.#connection.stop('reset')
      this.#output.close()
      this.#socket.end()
      this.#goodbye?.cancel()
      this.#goodbye = this.#deps.clock.after(LINGER_MS, () => this.#socket.destroy())
    })
  }

  /** The client does not read: there is no use in telling it why. */
  #cutOff(limit: Http2Limit): void {
    if (this.#isEnding) return
    this.#deps.counters.count('http2_limits_met', limit)
    this.fail(new Error(limit))
    this.#isEnding = true
    // What has arrived is still being read.
    this.#output.close()
    this.#socket.destroy()
  }

  #onClose(): void {
    this.#goodbye?.cancel()
    this.#notice?.cancel()
    this.#isEnding = true
    this.#connection.stop('reset')
    this.#streams.close()
    this.#output.close()
    this.settle()
    this.#shares.onEnd(this)
    this.#listener?.onClose(this.error)
  }

  #sendPing(content: Buffer): void {
    this.#output.urgent(PING_BYTES, (into, at) => writePing(into, at, 0, content))
  }
}

/** PINGs that measure the delay of uploads. */
const GROWTH_MARK = Buffer.from('upload\0\0')
