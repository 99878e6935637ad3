/**
 * One HTTP/2 connection (RFC 9113): what the client's frames do, and what answers them, in the order in which nginx
 * checks them. It knows nothing of TLS, exchanges or users.
 */
import type { Clock } from '../../clock.ts'
import type { TunnelLoss } from '../../contract/tunnel-stream.ts'
import { FrameParser, Handling } from '../../wire/http2/frame-parser.ts'
import type { FrameSink } from '../../wire/http2/frame-parser.ts'
import { GOAWAY_BYTES, PING_BYTES, writeGoaway, writePing } from '../../wire/http2/frame-writer.ts'
import { ErrorCode, Flag, FrameLength, FrameType } from '../../wire/http2/protocol.ts'
import { Budgets } from './budgets.ts'
import type { BudgetName, Http2Limit } from './budgets.ts'
import { DataFrames } from './data-frames.ts'
import { HeadReader } from './head-reader.ts'
import type { HeadLimits } from './head-reader.ts'
import type { Output } from './output.ts'
import type { RequestHead } from './request-head.ts'
import type { PeerSettings } from './settings.ts'
import type { Streams } from './streams.ts'
import type { Http2Stream } from './stream.ts'
import { VisitorAllowance } from './visitor-allowance.ts'
import { VisitorPace } from './visitor-pace.ts'

export interface ConnectionEvents {
  onRequest(stream: Http2Stream, head: RequestHead): void
  /** The client broke the protocol, or met a limit; GOAWAY has been sent and every stream has ended. */
  onFailed(code: number, limit: Http2Limit | undefined): void
  /** The client has acknowledged our latest SETTINGS. */
  onSettingsAcknowledged(): void
  /** A stream was reset because too much of its session waits for slow targets. */
  onStuckUpload(): void
  /** Read no more for a moment. */
  onPause(): void
  onResume(): void
  /** A PING of ours came back. */
  onPong(content: Buffer): void
}

interface ConnectionDependencies {
  readonly clock: Clock
  readonly output: Output
  readonly streams: Streams
  readonly settings: PeerSettings
  /** SETTINGS_MAX_FRAME_SIZE. */
  readonly maxFrameBytes: number
  readonly heads: HeadLimits
  readonly events: ConnectionEvents
}

/** nginx reads any number of settings; there are six. */
const MAX_SETTINGS_LENGTH = 100 * FrameLength.SETTING
/** DATA of hardly more than its frame head. */
const TINY_BYTES = 32

export class Http2Connection implements FrameSink {
  /** Somebody has authenticated: limits of a web server for its visitors no longer apply. */
  isTrusted = false
  /** No further stream is accepted: a final GOAWAY has been sent. */
  #saidGoaway = false
  #stopped = false
  readonly #deps: ConnectionDependencies
  readonly #parser = new FrameParser(this)
  readonly #data = new DataFrames()
  readonly #heads: HeadReader
  readonly #settings: PeerSettings
  readonly #budgets: Budgets
  readonly #pace: VisitorPace
  readonly #allowance: VisitorAllowance

  constructor(deps: ConnectionDependencies) {
    this.#deps = deps
    this.#budgets = new Budgets(deps.clock)
    this.#allowance = new VisitorAllowance(deps.clock)
    this.#pace = new VisitorPace(deps.clock, {
      pause: () => {
        this.#parser.pause()
        deps.events.onPause()
      },
      resume: () => {
        this.#parser.resume()
        deps.streams.wakeWaiting()
        if (!this.#parser.isPaused) deps.events.onResume()
      },
    })
    this.#heads = new HeadReader(deps.heads)
    this.#settings = deps.settings
  }

  get saidGoaway(): boolean {
    return this.#saidGoaway
  }

  /** The client has not finished what it began to send. */
  get isIncomplete(): boolean {
    return this.#parser.isIncomplete || this.#heads.isOpen
  }

  receive(chunk: Buffer): void {
    this.#parser.push(chunk)
    this.#deps.streams.wakeWaiting()
    if (!this.isTrusted && !this.#stopped && !this.#allowance.mayReceive(chunk.length))
      this.fail(ErrorCode.NO_ERROR, 'useless_bytes')
  }

  /** Final: streams that the client opens from now on are ignored. `lastId` may promise more (RFC 9113 section 6.8). */
  sendGoaway(code: number, lastId = this.#deps.streams.lastId): void {
    this.#saidGoaway = lastId === this.#deps.streams.lastId
    this.#deps.output.urgent(GOAWAY_BYTES, (into, at) => writeGoaway(into, at, lastId, code))
  }

  /** Ends everything: nothing of the client is looked at any more. */
  stop(how: TunnelLoss): void {
    this.#stopped = true
    this.#parser.stop()
    this.#pace.end()
    this.#deps.streams.loseAll(how)
  }

  fail(code: number, limit?: Http2Limit): void {
    if (!this.#saidGoaway) this.sendGoaway(code)
    this.stop('reset')
    this.#deps.events.onFailed(code, limit)
  }

  // Frames.

  onBadPreface(): void {
    this.fail(ErrorCode.PROTOCOL_ERROR)
  }

  onFrameHead(frame: FrameParser): Handling {
    if (frame.length > this.#deps.maxFrameBytes) return this.#refuse(ErrorCode.FRAME_SIZE_ERROR)
    if (this.#heads.isOpen && frame.type !== FrameType.CONTINUATION)
      return this.#refuse(ErrorCode.PROTOCOL_ERROR)
    switch (frame.type) {
      case FrameType.DATA:
        return this.#onDataHead(frame)
      case FrameType.HEADERS:
        return this.#onHeadersHead(frame)
      case FrameType.PRIORITY:
        return this.#onPriorityHead(frame)
      case FrameType.RST_STREAM:
        return this.#collect(frame, FrameLength.RST_STREAM)
      case FrameType.SETTINGS:
        return this.#onSettingsHead(frame)
      case FrameType.PING:
        return this.#collect(frame, FrameLength.PING, 'pings')
      case FrameType.GOAWAY:
        return this.#onGoawayHead(frame)
      case FrameType.WINDOW_UPDATE:
        return this.#collect(frame, FrameLength.WINDOW_UPDATE, 'window_updates')
      case FrameType.CONTINUATION:
        return this.#onContinuationHead(frame)
      case FrameType.PUSH_PROMISE:
        return this.#refuse(ErrorCode.PROTOCOL_ERROR)
      default:
        return this.#spend('unknown_frames') ? Handling.SKIP : this.#refuseLimit('unknown_frames')
    }
  }

  onPayload(frame: FrameParser, payload: Buffer): void {
    switch (frame.type) {
      case FrameType.HEADERS:
        return this.#onHeaders(frame, payload)
      case FrameType.CONTINUATION:
        return this.#onFragment(payload, (frame.flags & Flag.END_HEADERS) !== 0)
      case FrameType.PRIORITY:
        return this.#onPriority(frame, payload)
      case FrameType.RST_STREAM:
        return this.#onReset(frame, payload.readUInt32BE(0))
      case FrameType.SETTINGS:
        return this.#onSettings(frame, payload)
      case FrameType.PING:
        return this.#onPing(frame, payload)
      case FrameType.WINDOW_UPDATE:
        return this.#onWindowUpdate(frame, payload.readUInt32BE(0) & 0x7fffffff)
    }
  }

  onPiece(chunk: Buffer, start: number, end: number): void {
    if (!this.#data.onPiece(chunk, start, end)) this.fail(ErrorCode.PROTOCOL_ERROR)
  }

  onPiecesEnd(): void {
    this.#data.onEnd()
  }

  // DATA.

  #onDataHead(frame: FrameParser): Handling {
    const { streams } = this.#deps
    const { length, streamId, flags } = frame
    if ((flags & Flag.PADDED) !== 0 && length === 0) return this.#refuse(ErrorCode.FRAME_SIZE_ERROR)
    if (streamId === 0) return this.#refuse(ErrorCode.PROTOCOL_ERROR)
    if (!streams.takeReceiveWindow(length)) return this.#refuse(ErrorCode.FLOW_CONTROL_ERROR)
    const stream = streams.find(streamId)
    const endsStream = stream !== undefined && (flags & Flag.END_STREAM) !== 0
    if (length < TINY_BYTES && !endsStream) {
      const budget = length === 0 ? 'empty_data' : 'tiny_data'
      if (!this.#spend(budget)) return this.#refuseLimit(budget)
    }
    if (stream === undefined) return this.#skipUnknown(frame)
    if (length > stream.receiveWindow) return this.#skipWith(stream, ErrorCode.FLOW_CONTROL_ERROR, length)
    if (stream.remoteEnded) return this.#skipWith(stream, ErrorCode.STREAM_CLOSED, length)
    if (streams.holdsTooMuch) {
      this.#deps.events.onStuckUpload()
      return this.#skipWith(stream, ErrorCode.ENHANCE_YOUR_CALM, length)
    }
    stream.receiveWindow -= length
    if (!stream.discards) this.#allowance.onUseful(length)
    this.#data.begin(frame, stream)
    return Handling.STREAM
  }

  #skipData(bytes: number): Handling {
    this.#deps.streams.onConsumed(bytes)
    return Handling.SKIP
  }

  /** Its padding must make sense all the same. */
  #skipUnknown(frame: FrameParser): Handling {
    this.#deps.streams.onConsumed(frame.length)
    this.#data.begin(frame, undefined)
    return Handling.STREAM
  }

  #skipWith(stream: Http2Stream, code: number, bytes: number): Handling {
    if (!this.#resetFaulty(stream, code)) return Handling.SKIP
    return this.#skipData(bytes)
  }

  // HEADERS.

  #onHeadersHead(frame: FrameParser): Handling {
    const overhead =
      ((frame.flags & Flag.PADDED) === 0 ? 0 : 1) +
      ((frame.flags & Flag.PRIORITY) === 0 ? 0 : FrameLength.PRIORITY)
    if (frame.length <= overhead) return this.#refuse(ErrorCode.FRAME_SIZE_ERROR)
    if (this.#saidGoaway && !this.isTrusted) return Handling.SKIP
    return this.#collectHead(frame.length)
  }

  #onContinuationHead(frame: FrameParser): Handling {
    if (this.#heads.streamId !== frame.streamId || frame.streamId === 0)
      return this.#refuse(ErrorCode.PROTOCOL_ERROR)
    return this.#collectHead(frame.length)
  }

  #collectHead(bytes: number): Handling {
    this.#allowance.onUseful(bytes)
    const fault = this.#heads.faultOf(bytes)
    return fault === undefined ? Handling.COLLECT : this.#refuseLimit(fault)
  }

  #onHeaders(frame: FrameParser, payload: Buffer): void {
    const { streams } = this.#deps
    const { streamId, flags } = frame
    const part = this.#heads.fragmentOf(flags, streamId, payload)
    if (typeof part === 'number') return this.fail(part)
    const isTrailer = this.isTrusted && this.#mayHaveTrailer(streamId)
    if (!isTrailer) {
      if (streamId % 2 === 0 || streamId <= streams.lastId) return this.fail(ErrorCode.PROTOCOL_ERROR)
      streams.lastId = streamId
    }
    if (part.length === 0) return this.fail(ErrorCode.FRAME_SIZE_ERROR)
    this.#heads.open(streamId, (flags & Flag.END_STREAM) !== 0, isTrailer)
    this.#onFragment(part, (flags & Flag.END_HEADERS) !== 0)
  }

  /** A client that does not know yet that we have reset its stream may go on with it (RFC 9113 section 5.1). */
  #mayHaveTrailer(streamId: number): boolean {
    const { streams } = this.#deps
    return streamId % 2 === 1 && streamId <= streams.lastId && streams.find(streamId)?.remoteEnded !== true
  }

  #onFragment(fragment: Buffer, isLast: boolean): void {
    this.#heads.add(fragment, isLast)
    if (!isLast) return
    const { streamId, endsStream, isTrailer } = this.#heads
    const read = this.#heads.decode()
    if ('code' in read) return this.fail(read.code, read.limit)
    if (!isTrailer) return this.#onRequest(streamId, read.head, endsStream)
    // They end the stream, and nobody asks what they say. It may have ended since they began.
    const open = this.#deps.streams.find(streamId)
    if (open === undefined) return void (this.#spend('unknown_frames') || this.#refuseLimit('unknown_frames'))
    if (endsStream) open.onRemoteEnd()
    else this.#resetFaulty(open, ErrorCode.PROTOCOL_ERROR)
  }

  #onRequest(streamId: number, head: RequestHead, endsStream: boolean): void {
    const { streams, events } = this.#deps
    if (!this.#spend('streams')) return void this.#refuseLimit('streams')
    if (streams.size >= streams.limit || this.#saidGoaway) return this.#refuseStream(streamId)
    if (this.#allowance.isLastRequest() && !this.isTrusted) this.sendGoaway(ErrorCode.NO_ERROR)
    head.finish(endsStream)
    if (head.isBroken) return void this.#sendOwnReset(streamId, ErrorCode.PROTOCOL_ERROR)
    const stream = streams.open(streamId)
    if (endsStream) stream.onRemoteEnd()
    events.onRequest(stream, head)
    if (!this.isTrusted) this.#pace.onRequest(stream)
  }

  #refuseStream(streamId: number): void {
    if (!this.isTrusted && !this.#allowance.mayRefuse())
      return this.fail(ErrorCode.NO_ERROR, 'refused_streams')
    this.#sendOwnReset(streamId, ErrorCode.REFUSED_STREAM)
  }

  // Everything else.

  #onPriorityHead(frame: FrameParser): Handling {
    if (frame.length === FrameLength.PRIORITY && !this.#allowance.takePriority())
      return this.#refuseLimit('priority')
    return this.#collect(frame, FrameLength.PRIORITY)
  }

  #onPriority({ streamId }: FrameParser, payload: Buffer): void {
    const dependsOnItself = (payload.readUInt32BE(0) & 0x7fffffff) === streamId
    if (streamId === 0 || dependsOnItself) this.fail(ErrorCode.PROTOCOL_ERROR)
  }

  #onReset({ streamId }: FrameParser, code: number): void {
    if (streamId === 0) return this.fail(ErrorCode.PROTOCOL_ERROR)
    this.#deps.streams.find(streamId)?.onLost(code === ErrorCode.NO_ERROR ? 'left' : 'reset')
    if (!this.#spend('client_resets')) this.#refuseLimit('client_resets')
  }

  #onSettingsHead({ length, streamId, flags }: FrameParser): Handling {
    if (streamId !== 0) return this.#refuse(ErrorCode.PROTOCOL_ERROR)
    const isAcknowledgement = flags === Flag.ACK
    if (isAcknowledgement ? length !== 0 : length % FrameLength.SETTING !== 0 || length > MAX_SETTINGS_LENGTH)
      return this.#refuse(ErrorCode.FRAME_SIZE_ERROR)
    return this.#spend('settings') ? Handling.COLLECT : this.#refuseLimit('settings')
  }

  #onSettings({ flags }: FrameParser, payload: Buffer): void {
    if (flags === Flag.ACK) return this.#deps.events.onSettingsAcknowledged()
    const fault = this.#settings.apply(payload)
    if (fault !== undefined) this.fail(fault)
  }

  #onPing({ flags, streamId }: FrameParser, payload: Buffer): void {
    if (streamId !== 0) return this.fail(ErrorCode.PROTOCOL_ERROR)
    if ((flags & Flag.ACK) !== 0) return this.#deps.events.onPong(payload)
    this.#deps.output.urgent(PING_BYTES, (into, at) => writePing(into, at, Flag.ACK, payload))
  }

  /** A client that says it leaves still gets its answers. */
  #onGoawayHead({ length, streamId }: FrameParser): Handling {
    if (length < FrameLength.MIN_GOAWAY) return this.#refuse(ErrorCode.FRAME_SIZE_ERROR)
    if (streamId !== 0) return this.#refuse(ErrorCode.PROTOCOL_ERROR)
    return this.#spend('unknown_frames') ? Handling.SKIP : this.#refuseLimit('unknown_frames')
  }

  #onWindowUpdate({ streamId }: FrameParser, increment: number): void {
    const { streams } = this.#deps
    if (increment === 0) return this.fail(ErrorCode.PROTOCOL_ERROR)
    if (streamId === 0) {
      if (!streams.growSendWindow(increment)) this.fail(ErrorCode.FLOW_CONTROL_ERROR)
      return
    }
    const stream = streams.find(streamId)
    if (stream !== undefined && !stream.growSendWindow(increment))
      this.#resetFaulty(stream, ErrorCode.FLOW_CONTROL_ERROR)
  }

  /** @param length the one that the frame must have. */
  #collect(frame: FrameParser, length: number, budget?: BudgetName): Handling {
    if (frame.length !== length) return this.#refuse(ErrorCode.FRAME_SIZE_ERROR)
    if (budget !== undefined && !this.#spend(budget)) return this.#refuseLimit(budget)
    return Handling.COLLECT
  }

  #spend(budget: BudgetName): boolean {
    return this.#budgets.take(budget)
  }

  #refuse(code: number): Handling {
    this.fail(code)
    return Handling.SKIP
  }

  #refuseLimit(limit: Http2Limit): Handling {
    this.fail(ErrorCode.ENHANCE_YOUR_CALM, limit)
    return Handling.SKIP
  }

  /** For an error of the client. False when there were too many: the connection has ended. */
  #resetFaulty(stream: Http2Stream, code: number): boolean {
    stream.onLost('reset')
    return this.#sendOwnReset(stream.id, code)
  }

  #sendOwnReset(streamId: number, code: number): boolean {
    this.#deps.streams.sendReset(streamId, code)
    if (this.#spend('own_resets')) return true
    this.#refuseLimit('own_resets')
    return false
  }
}
