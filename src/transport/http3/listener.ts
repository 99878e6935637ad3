/** One native HTTP/3 server, bound to a port with one certificate, and its sessions. */
import { randomBytes } from 'node:crypto'
import type { ConnectionPlace, Http3Dependencies, Http3Options } from './options.ts'
import { releaseChunk } from './lent-chunk.ts'
import { Endings } from './ending.ts'
import { createHttp3Server } from './native.ts'
import type { Http3Events, Http3Field, Http3Opening, Http3Server } from './native.ts'
import { SendWindows } from './send.ts'
import { SilenceWatch } from './silence.ts'
import { Http3Session } from './session.ts'
import type { SessionContext } from './session.ts'
import { H3_NO_ERROR } from './error-codes.ts'
import type { Http3Stream } from './stream.ts'
import { pause } from '../../clock.ts'
import type { Timer } from '../../clock.ts'
import { formatSocketAddress } from '../../wire/authority.ts'
import { normalizePeerAddress } from '../../wire/ip-kind.ts'

/** How long a pause of the producer may last; the addon itself ends it after 5 s. */
const MAX_PAUSE_MS = 2000
/** How long connections may take to be closed on the wire before the server stops. */
const CLOSE_PATIENCE_MS = 1000
const CLOSE_POLL_MS = 10

/** Different in every thread of the process; session ids begin with it. */
const ID_PREFIX = `h3-${randomBytes(3).toString('hex')}`
let sessionCount = 0

export type ListenerCreation =
  { readonly kind: 'created'; readonly listener: Listener } | Extract<Http3Opening, { kind: 'unavailable' }>

/** A listener for one certificate, not bound yet. Throws when the certificate is refused. */
export function createListener(options: Http3Options, deps: Http3Dependencies): ListenerCreation {
  const listener = new Listener(options.handshakeTimeoutMs, deps)
  const opening = createHttp3Server(
    {
      key: options.key,
      cert: options.cert,
      maxIdleTimeoutMs: options.maxIdleTimeoutMs,
      initialMaxData: options.initialMaxDataBytes,
      initialMaxStreamsBidi: options.maxStreamsBidi,
      disableActiveMigration: options.disableActiveMigration,
      maxConnections: options.maxConnections,
      disableRetry: !options.retry,
    },
    options.eventDebt,
    listener,
  )
  if (opening.kind === 'unavailable') return opening
  listener.run(opening.server)
  return { kind: 'created', listener }
}

/** A handshake under way, which has not been reported to anybody yet. */
interface Handshake {
  readonly address: string
  readonly port: number
  readonly deadline: Timer
}

/** One native server and its sessions. */
export class Listener implements Http3Events {
  readonly #handshakeTimeoutMs: number
  readonly #deps: Http3Dependencies
  readonly #endings: Endings
  readonly #silence: SilenceWatch
  readonly #handshakes = new Map<number, Handshake>()
  readonly #sessions = new Map<number, Http3Session>()
  /** Places of handshakes and sessions. */
  readonly #places = new Map<number, ConnectionPlace>()
  /** Sessions that we have closed and the library has not yet. */
  readonly #ending = new Set<number>()
  /** Streams with input that has arrived in the current batch. */
  #touched: Http3Stream[] = []
  #server: Http3Server | undefined
  #windows: SendWindows | undefined
  #context: SessionContext | undefined
  #closing: Promise<void> | undefined

  constructor(handshakeTimeoutMs: number, deps: Http3Dependencies) {
    this.#handshakeTimeoutMs = handshakeTimeoutMs
    this.#deps = deps
    this.#endings = new Endings(deps.clock)
    this.#silence = new SilenceWatch(deps.clock)
  }

  get port(): number {
    return this.#server?.port ?? 0
  }

  run(server: Http3Server): void {
    const { clock, counters, uploads, userOf, channelOf } = this.#deps
    this.#server = server
    this.#windows = new SendWindows(server, clock)
    this.#context = {
      server,
      windows: this.#windows,
      endings: this.#endings,
      silence: this.#silence,
      uploads,
      userOf,
      channelOf,
      clock,
      counters,
      onEnd: (session) => {
        this.#sessions.delete(session.handle)
        this.#leave(session.handle)
        this.#ending.add(session.handle)
      },
    }
  }

  /** See {@link Http3Server.inherit}. */
  inherit(): void {
    this.#server?.inherit()
  }

  retire(): void {
    this.#server?.forgiveDebt()
  }

  /** Binds UDP. Throws when the address cannot be bound. */
  listen({ host, port }: { readonly host: string; readonly port: number }): void {
    try {
      this.#server?.listen(port, host)
    } catch (error) {
      throw unbindable({ address: host, port }, error)
    }
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  destroy(reason: Error): void {
    for (const session of this.#sessions.values()) session.destroy(reason)
    void this.close(0).catch((error: unknown) => this.#deps.log.warn({ err: error }, 'http3 did not close'))
  }

  async #close(graceMs: number): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((session) => session.close({ graceMs })))
    this.#closeHandshakes()
    // The library ends a connection a moment after it is told to, and ends them all with code 0 when it stops.
    const { clock } = this.#deps
    const deadline = clock.now() + CLOSE_PATIENCE_MS
    while (this.#ending.size > 0 && clock.now() < deadline) await pause(clock, CLOSE_POLL_MS)
    await this.#server?.close(clock)
    this.#windows?.destroy()
    this.#endings.destroy()
    this.#silence.destroy()
  }

  #closeHandshakes(): void {
    for (const handle of this.#handshakes.keys()) this.#closeHandshake(handle)
  }

  #closeHandshake(handle: number): void {
    this.#server?.closeSession(handle, H3_NO_ERROR, '')
    this.#ending.add(handle)
    this.#forget(handle)
  }

  /** A handshake is over without having become a session. */
  #forget(handle: number): void {
    if (!this.#handshakes.has(handle)) return
    this.#handshakes.get(handle)?.deadline.cancel()
    this.#handshakes.delete(handle)
    this.#leave(handle)
  }

  #leave(handle: number): void {
    this.#places.get(handle)?.release()
    this.#places.delete(handle)
  }

  onSession(handle: number, address: string, port: number): void {
    const remote = normalizePeerAddress(address)?.address ?? address
    // Not every lost connection is announced, but its number is still used again.
    this.#forget(handle)
    this.#sessions.get(handle)?.onClose(undefined)
    this.#ending.delete(handle)
    const { admit, clock, counters } = this.#deps
    const place = admit(remote)
    if (place === undefined) {
      counters.count('http3_denied')
      this.#server?.closeSession(handle, H3_NO_ERROR, '')
      return
    }
    this.#places.set(handle, place)
    const deadline = clock.after(this.#handshakeTimeoutMs, () => {
      counters.count('http3_handshake_timeouts')
      this.#closeHandshake(handle)
    })
    this.#handshakes.set(handle, { address: remote, port, deadline })
  }

  onHandshake(handle: number): void {
    const handshake = this.#handshakes.get(handle)
    if (handshake === undefined || this.#context === undefined) return
    if (this.#closing !== undefined) return this.#closeHandshake(handle)
    handshake.deadline.cancel()
    this.#handshakes.delete(handle)
    this.#places.get(handle)?.handshakeDone()
    const session = new Http3Session(
      handle,
      handshake,
      `${ID_PREFIX}-${(++sessionCount).toString(36)}`,
      this.#context,
    )
    this.#sessions.set(handle, session)
    session.open(this.#deps.acceptSession)
  }

  onHeaders(handle: number, stream: number, fields: readonly Http3Field[], fin: boolean): void {
    this.#sessions.get(handle)?.onHeaders(stream, fields, fin)
  }

  onData(handle: number, id: number, chunk: Buffer): void {
    const stream = this.#sessions.get(handle)?.stream(id)
    if (stream === undefined) releaseChunk(chunk)
    else if (stream.onData(chunk)) this.#touched.push(stream)
  }

  onFinished(handle: number, stream: number): void {
    this.#sessions.get(handle)?.onFinished(stream)
  }

  onReset(handle: number, stream: number, code: number): void {
    this.#sessions.get(handle)?.onReset(stream, code)
  }

  onStreamError(handle: number, stream: number): void {
    this.#sessions.get(handle)?.onStreamError(stream)
  }

  onBlocked(handle: number, stream: number): void {
    this.#sessions.get(handle)?.window(stream)?.onBlocked()
  }

  onRoom(handle: number, stream: number, empty: boolean): void {
    this.#sessions.get(handle)?.window(stream)?.onRoom(empty)
  }

  onMark(handle: number, stream: number): void {
    this.#sessions.get(handle)?.window(stream)?.onMark()
  }

  onPing(handle: number): void {
    this.#sessions.get(handle)?.onPing()
  }

  onAdmission(): void {
    this.#windows?.onAdmission()
  }

  onSessionClose(handle: number, code: number | undefined, reason: string): void {
    this.#forget(handle)
    const inOrder = code === undefined || code === 0 || code === H3_NO_ERROR
    this.#sessions.get(handle)?.onClose(inOrder ? undefined : new Error(`QUIC close ${code}: ${reason}`))
    this.#ending.delete(handle)
  }

  onBatchEnd(): boolean {
    const touched = this.#touched
    if (touched.length > 0) {
      this.#touched = []
      for (const stream of touched) stream.flushInput()
    }
    return !this.#deps.uploads.congested || this.#pause()
  }

  onFault(error: Error): void {
    this.#deps.log.error({ err: error }, 'http3 fault')
    this.#deps.counters.count('http3_faults')
  }

  /** Delays the acknowledgement of events, which stops reading once 4096 of them are outstanding. */
  #pause(): false {
    const { clock, counters, uploads } = this.#deps
    counters.count('http3_upload_pauses')
    const resume = (): void => {
      patience.cancel()
      this.#server?.acknowledge()
    }
    const patience = clock.after(MAX_PAUSE_MS, resume)
    uploads.onRelief(resume)
    return false
  }
}

/** The library says neither which port it was nor that it was for UDP. */
function unbindable(socket: { readonly address: string; readonly port: number }, cause: unknown): Error {
  const { message, code } = cause as NodeJS.ErrnoException
  const where = formatSocketAddress(socket)
  return Object.assign(new Error(`cannot listen for HTTP/3 on UDP ${where}: ${message}`, { cause }), { code })
}
