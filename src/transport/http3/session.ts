/** One QUIC connection as a `Session` (RFC 9114, specification 3.2 and 10.2). */
import { serverNameIn } from '../../wire/host-name.ts'
import { customerOf } from '../../wire/ip-kind.ts'
import type { Clock } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import { isRevocation } from '../../errors.ts'
import type { Channel, Session } from '../../contract/session.ts'
import type { AcceptSession, SessionListener } from '../../contract/session-listener.ts'
import { AUTHENTICATION_REQUIRED, SessionLife } from '../session-life.ts'
import { fieldSectionBytes, isOversized, isTrailerSection, parseRequestHead } from './fields.ts'
import type { RequestHead } from './fields.ts'
import type { Endings, SessionEndings } from './ending.ts'
import type { Http3Field, Http3Server } from './native.ts'
import { Http3Connect, Http3Plain } from './exchange.ts'
import type { Respond } from './exchange.ts'
import type { SendWindows } from './send.ts'
import type { SendShare } from './send-share.ts'
import type { SendOwner, SendWindow } from './send-window.ts'
import { H3_EXCESSIVE_LOAD, H3_MESSAGE_ERROR, H3_NO_ERROR, H3_REQUEST_REJECTED } from './error-codes.ts'
import { Http3Stream } from './stream.ts'
import type { SilenceWatch, Speaker } from './silence.ts'
import type { StreamOutcome, StreamHost } from './stream.ts'
import type { UploadBuffer, UploadListener, UploadStore } from './upload.ts'
import { Wire } from './wire.ts'

/**
 * A session whose last stream ended this long ago and that is still sending nothing of it can be closed without asking
 * its client, which may be gone without a word.
 */
const REST_MS = 30_000

/**
 * Heads that a client may send before it has authenticated. The library may keep each of them until the connection
 * ends, so that a stranger's requests are not free even when they are refused.
 */
const MAX_STRANGER_HEAD_BYTES = 4 * 1024 * 1024

/** What all sessions of one native server share. */
export interface SessionContext {
  readonly server: Http3Server
  readonly windows: SendWindows
  readonly endings: Endings
  readonly silence: SilenceWatch
  readonly uploads: UploadStore
  readonly userOf: (session: Session) => string | undefined
  readonly channelOf: (hostname: string) => Channel
  readonly clock: Clock
  readonly counters: Counters
  /** The session is over and has been forgotten. */
  readonly onEnd: (session: Http3Session) => void
}

export class Http3Session extends SessionLife implements Session, StreamHost {
  readonly id: string
  override readonly protocol = 'HTTP3'
  readonly remoteAddress: string
  readonly remotePort: number
  /** The library does not reveal it. */
  readonly serverName = undefined
  readonly handle: number
  readonly #context: SessionContext
  readonly #share: SendShare
  readonly #streams = new Map<number, Http3Stream>()
  readonly #wire: Wire
  /** Streams that were ended by us and not yet by the client. */
  readonly #endings: SessionEndings
  #listener: SessionListener | undefined
  #lastEndAt: number
  #strangerHeadBytes = 0

  constructor(
    handle: number,
    remote: { address: string; port: number },
    id: string,
    context: SessionContext,
  ) {
    super(context.clock, context.counters)
    this.handle = handle
    this.id = id
    this.remoteAddress = remote.address
    this.remotePort = remote.port
    this.#context = context
    this.#lastEndAt = context.clock.now()
    this.#wire = new Wire(handle, context.server)
    this.#share = context.windows.openSession(this.#wire, {
      address: customerOf(remote.address),
      userOf: () => context.userOf(this),
    })
    this.#endings = context.endings.open(this.#wire, this.#share.backlog, (stream, code) =>
      context.server.reset(handle, stream, code),
    )
  }

  get openStreams(): number {
    return this.#streams.size
  }

  /** The handshake is complete. */
  open(accept: AcceptSession): void {
    this.#listener = accept(this)
  }

  onHeaders(id: number, fields: readonly Http3Field[], fin: boolean): void {
    const known = this.#streams.get(id)
    if (known !== undefined) {
      if (!isTrailerSection(fields)) known.reset(H3_MESSAGE_ERROR)
      return
    }
    if (this.#endings.has(id)) return
    if (this.#isTooMuch(fields)) return
    const code = this.state === 'open' ? undefined : H3_REQUEST_REJECTED
    const head = parseRequestHead(fields)
    const refusal =
      code ?? (isOversized(fields) ? H3_EXCESSIVE_LOAD : head === undefined ? H3_MESSAGE_ERROR : undefined)
    if (refusal !== undefined || head === undefined || this.#listener === undefined) {
      if (refusal === H3_MESSAGE_ERROR) this.#context.counters.count('http3_malformed_requests')
      return this.#context.server.reset(this.handle, id, refusal ?? H3_REQUEST_REJECTED)
    }
    const stream = new Http3Stream(id, this, fin, head.contentBytes)
    this.#streams.set(id, stream)
    const Kind = head.method === 'CONNECT' ? Http3Connect : Http3Plain
    this.#listener.onExchange(new Kind(this, this.#channelOf(head), head, stream, this.#respond))
  }

  /** Ends the session of a stranger that has sent more heads than there is room for. */
  #isTooMuch(fields: readonly Http3Field[]): boolean {
    if (this.#context.userOf(this) !== undefined) return false
    this.#strangerHeadBytes += fieldSectionBytes(fields)
    if (this.#strangerHeadBytes <= MAX_STRANGER_HEAD_BYTES) return false
    this.#context.counters.count('http3_head_floods')
    this.destroy(new Error('too many heads without credentials'))
    return true
  }

  /** In a CONNECT and in a request for an `http:` address, `:authority` is the target: these are for main hosts. */
  #channelOf({ method, scheme, authority }: RequestHead): Channel {
    if (method === 'CONNECT' || scheme === 'http') return 'main'
    return this.#context.channelOf(serverNameIn(authority))
  }

  stream(id: number): Http3Stream | undefined {
    return this.#streams.get(id)
  }

  /** The window of a stream, even when we have ended the stream and the client has not. */
  window(id: number): SendWindow | undefined {
    return this.#streams.get(id)?.window ?? this.#endings.window(id)
  }

  onPing(): void {
    this.#wire.onPing(this.#context.clock.now())
    this.#share.backlog.onPing()
  }

  /** END_STREAM. */
  onFinished(id: number): void {
    this.#streams.get(id)?.onFinished()
    this.#endings.onClientEnd(id)
  }

  onReset(id: number, code: number): void {
    this.#endings.onClientEnd(id)
    const stream = this.#streams.get(id)
    // Clients also end tunnels with NO_ERROR: that counts as an orderly end.
    if (code === H3_NO_ERROR && stream?.answered) stream.onFinished()
    else stream?.abandon()
  }

  onStreamError(id: number): void {
    this.#endings.forget(id)
    this.#streams.get(id)?.abandon()
  }

  /** The connection is gone. */
  onClose(error: Error | undefined): void {
    if (this.state === 'closed') return
    if (error !== undefined) this.fail(error)
    this.settle()
    for (const stream of this.#streams.values()) stream.abandon()
    this.#endings.close()
    this.#share.close()
    this.#context.onEnd(this)
    this.#listener?.onClose(this.error)
  }

  protected override onDrain(graceMs: number): void {
    if (this.#streams.size > 0) return
    if (graceMs === 0 || this.#isAtRest()) this.#end()
    else this.#endings.whenDelivered(() => this.#end())
  }

  #isAtRest(): boolean {
    return this.#endings.isEmpty && this.#context.clock.now() - this.#lastEndAt >= REST_MS
  }

  protected override onDestroy(): void {
    this.#end()
  }

  #end(): void {
    const code = isRevocation(this.error) ? AUTHENTICATION_REQUIRED : H3_NO_ERROR
    this.#context.server.closeSession(this.handle, code, '')
    this.onClose(undefined)
  }

  openWindow(stream: number, owner: SendOwner): SendWindow {
    return this.#share.open(stream, owner)
  }

  openUpload(listener: UploadListener): UploadBuffer {
    const { uploads, userOf } = this.#context
    return uploads.open(() => userOf(this), listener)
  }

  onStreamStuck(id: number): void {
    this.#context.counters.count('http3_stuck_streams')
    if (!this.#endings.has(id)) return
    this.#endings.forget(id)
    this.#context.server.reset(this.handle, id, H3_EXCESSIVE_LOAD)
  }

  onOutputEnd(stream: Speaker): void {
    this.#context.silence.add(stream)
  }

  onStreamEnd(stream: Http3Stream, end: StreamOutcome): void {
    const { id, window } = stream
    this.#streams.delete(id)
    this.#context.silence.remove(stream)
    this.#lastEndAt = this.#context.clock.now()
    if (this.state === 'closed') return window.close()
    if (end.kind === 'unended') this.#endings.end(id, window, stream.writtenBytes)
    else if (end.kind === 'finished') this.#endings.finish(id, window)
    else if (end.kind === 'reset') this.#reset(stream, end.code)
    else window.close()
    if (this.state === 'draining' && this.#streams.size === 0) {
      this.#endings.whenDelivered(() => this.#end())
    }
  }

  /** A reset takes back what the client has not received yet. If it cuts an answer short, it can wait a little. */
  #reset({ id, window, answered }: Http3Stream, code: number): void {
    if (answered && code !== H3_EXCESSIVE_LOAD) return this.#endings.breakOff(id, window, code)
    window.close()
    this.#context.server.reset(this.handle, id, code)
  }

  readonly #respond: Respond = (stream, fields, fin) => {
    this.#context.server.respond(this.handle, stream, fields, fin)
  }
}
