/**
 * Everything that knows `@currentspace/http3` 0.9.0: loads its addon and drives the native server class. Its JavaScript
 * layer is not used, because it binds TCP as well and has no backpressure on reading
 * (docs/decisions/002-http3-package.md). test/contract/http3-package.test.ts checks the facts relied on here.
 *
 * The native side runs QUIC in threads of its own and calls back with batches of events. Each batch must be
 * acknowledged; when 4096 events of the process are outstanding, its threads stop reading until some have been.
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Clock } from '../../clock.ts'
import { ForeignResets, THREAD_SHIFT } from './foreign-resets.ts'
import { lendChunk } from './lent-chunk.ts'
import { startOneThread } from './one-thread.ts'
import type { WirePort, WireSample } from './wire.ts'

export const HTTP3_PACKAGE = '@currentspace/http3'

/** Event types of the addon (src/h3_event.rs of the package). */
const NEW_SESSION = 1
const HEADERS = 3
const DATA = 4
const FINISHED = 5
const RESET = 6
const SESSION_CLOSE = 7
const DRAIN = 8
const ERROR = 10
const HANDSHAKE_COMPLETE = 11
const SHUTDOWN_COMPLETE = 15
const STREAM_BLOCKED = 16
const PING_ACK = 17
const WRITE_READY = 18

/** How long a native thread may take to end before it is joined regardless. */
const SHUTDOWN_PATIENCE_MS = 5000
const ADMITTED = 0

export interface Http3Field {
  readonly name: string
  readonly value: string
}

/** As the addon takes them; for a missing key it uses its own default. */
interface NativeServerOptions {
  readonly key: Buffer
  readonly cert: Buffer
  readonly runtimeMode: 'portable'
  readonly maxIdleTimeoutMs: number
  readonly initialMaxData: number
  readonly initialMaxStreamsBidi: number
  readonly disableActiveMigration: boolean
  readonly maxConnections: number
  readonly disableRetry: boolean
}

interface NativeEvent {
  readonly eventType: number
  readonly connHandle: number
  readonly streamId: number
  readonly headers?: readonly Http3Field[]
  readonly data?: Buffer
  readonly fin?: boolean
  readonly meta?: {
    readonly errorCode?: number
    readonly errorReason?: string
    readonly errorCategory?: string
    readonly remoteAddr?: string
    readonly remotePort?: number
  }
}

interface NativeServer {
  listen(port: number, host: string): { address: string; family: string; port: number }
  sendResponseHeaders(session: number, stream: number, fields: readonly Http3Field[], fin: boolean): boolean
  streamSend(session: number, stream: number, data: Buffer, fin: boolean): { status: number; written: number }
  streamClose(session: number, stream: number, code: number): boolean
  closeSession(session: number, code: number, reason: string): boolean
  /** Throws when the session is gone. */
  getSessionMetrics(session: number): { readonly bytesOut: number; readonly rttMs: number }
  pingSession(session: number): boolean
  ackEventBatch(count: number): void
  requestShutdown(): boolean
  joinWorker(): void
}

interface NativeBinding {
  NativeWorkerServer: new (
    options: NativeServerOptions,
    onEvents: (error: Error | null, events: readonly NativeEvent[]) => void,
  ) => NativeServer
  runtimeTelemetry(): { readonly outboundPendingWriteBytes: number; readonly eventBatchOutstanding: number }
}

/** What happens on the wire, in order. `session` and `stream` are the addon's numbers. */
export interface Http3Events {
  /** A handshake has begun. */
  onSession(session: number, address: string, port: number): void
  onHandshake(session: number): void
  onHeaders(session: number, stream: number, fields: readonly Http3Field[], fin: boolean): void
  /** `chunk` may be a few bytes of a large allocation that lives as long as the buffer, or until `releaseChunk`. */
  onData(session: number, stream: number, chunk: Buffer): void
  onFinished(session: number, stream: number): void
  onReset(session: number, stream: number, code: number): void
  /** The stream can no longer be used, mostly because of the client's STOP_SENDING. */
  onStreamError(session: number, stream: number, reason: string): void
  /** Not everything that was sent fits into QUIC's windows; the rest waits in the addon. */
  onBlocked(session: number, stream: number): void
  /** There was room for some of it or, with `empty`, for all of it. */
  onRoom(session: number, stream: number, empty: boolean): void
  /** The addon has looked at everything that was sent before {@link Http3Server.mark}. */
  onMark(session: number, stream: number): void
  /** The client has acknowledged something since {@link Http3Server.ping}. */
  onPing(session: number): void
  /** The addon takes data again. */
  onAdmission(): void
  onSessionClose(session: number, code: number | undefined, reason: string): void
  /**
   * The events of one batch have been handled. Returns false to delay the acknowledgement (see {@link
   * Http3Server.acknowledge}).
   */
  onBatchEnd(): boolean
  /** The native side has failed as a whole. */
  onFault(error: Error): void
}

export type Http3Opening =
  | { readonly kind: 'created'; readonly server: Http3Server }
  /** The addon does not exist for this platform, or does not load. */
  | { readonly kind: 'unavailable'; readonly error: Error }

let loaded: NativeBinding | Error | undefined

/** Once per thread; a failure is remembered. */
function loadBinding(): NativeBinding | Error {
  loaded ??= requireBinding()
  return loaded
}

function requireBinding(): NativeBinding | Error {
  try {
    const require = createRequire(import.meta.url)
    const root = dirname(dirname(require.resolve(HTTP3_PACKAGE)))
    const binding: unknown = require(join(root, 'index.js'))
    if (isBinding(binding)) return binding
    return new Error(`${HTTP3_PACKAGE} has no NativeWorkerServer`)
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

function isBinding(value: unknown): value is NativeBinding {
  return (
    typeof value === 'object' &&
    value !== null &&
    'NativeWorkerServer' in value &&
    typeof value.NativeWorkerServer === 'function'
  )
}

/**
 * Creates a server that does not listen yet. Throws when the certificate is refused. `debt` events stay unacknowledged
 * for good, so that reading stops that much earlier: at 4096 of all servers of the process, each with up to 64 KiB.
 */
export function createHttp3Server(
  options: Omit<NativeServerOptions, 'runtimeMode'>,
  debt: number,
  events: Http3Events,
): Http3Opening {
  const binding = loadBinding()
  if (binding instanceof Error) return { kind: 'unavailable', error: binding }
  // With io_uring the library sends packets in another order than they were written: two thirds arrive behind a later
  // one, and receivers take them for lost.
  const portable = { ...options, runtimeMode: 'portable' } as const
  return { kind: 'created', server: new Http3Server(binding, portable, events, debt) }
}

/** One UDP socket and native thread, and all QUIC connections on them. */
export class Http3Server implements WirePort {
  #port: number | undefined
  readonly #binding: NativeBinding
  readonly #native: NativeServer
  readonly #events: Http3Events
  readonly #ended = Promise.withResolvers<void>()
  readonly #foreignResets = new ForeignResets()
  /** DRAIN events of the current batch: session, stream, count. */
  readonly #drains = new Map<string, { session: number; stream: number; count: number }>()
  #unacknowledged = 0
  #debt: number
  #closing: Promise<void> | undefined

  constructor(binding: NativeBinding, options: NativeServerOptions, events: Http3Events, debt: number) {
    this.#binding = binding
    this.#debt = debt
    this.#events = events
    this.#native = new binding.NativeWorkerServer(options, (error, batch) => {
      if (error) this.#events.onFault(error)
      else this.#dispatchBatch(batch)
    })
  }

  /** Undefined while it does not listen. */
  get port(): number | undefined {
    return this.#port
  }

  /** Binds UDP and starts the native thread. Throws when that fails. */
  listen(port: number, host: string): void {
    startOneThread(() => {
      this.#port = this.#native.listen(port, host).port
    })
  }

  respond(session: number, stream: number, fields: readonly Http3Field[], fin: boolean): void {
    this.#native.sendResponseHeaders(session, stream, fields, fin)
  }

  /** Acknowledges for a thread that has died. Only while there is no other server. */
  inherit(): void {
    this.#native.ackEventBatch(this.#binding.runtimeTelemetry().eventBatchOutstanding)
  }

  /** Copies `chunk`. False when nothing was taken: try again after `onAdmission`. */
  send(session: number, stream: number, chunk: Buffer, fin: boolean): boolean {
    return this.#native.streamSend(session, stream, chunk, fin).status === ADMITTED
  }

  /**
   * Asks for `onMark` once everything sent before on this session has been looked at.
   * Sent to the server-initiated stream of the next number, which never exists, it comes back as an error.
   */
  mark(session: number, stream: number): boolean {
    return this.send(session, stream + 1, MARK, false)
  }

  /** Bytes of all streams of the process that wait in the addon for room in QUIC's windows. Not cheap. */
  pendingBytes(): number {
    return this.#binding.runtimeTelemetry().outboundPendingWriteBytes
  }

  /** {@link WirePort} */
  sample(session: number): WireSample | undefined {
    try {
      const { bytesOut, rttMs } = this.#native.getSessionMetrics(session)
      return { sentBytes: bytesOut, rttMs }
    } catch {
      return undefined
    }
  }

  /** {@link WirePort}: asks for `onPing`. */
  ping(session: number): void {
    this.#native.pingSession(session)
  }

  /** RESET_STREAM and STOP_SENDING. */
  reset(session: number, stream: number, code: number): void {
    const foreign = session >>> THREAD_SHIFT > 0
    if (foreign) this.#foreignResets.expect(session, stream, code)
    this.#native.streamClose(session, stream, code)
    // The event cannot arrive after this mark any more.
    if (foreign) this.mark(session, stream)
  }

  /** GOAWAY, and 25 ms later CONNECTION_CLOSE. */
  closeSession(session: number, code: number, reason: string): void {
    this.#native.closeSession(session, code, reason)
  }

  /** Acknowledges batches for which `onBatchEnd` returned false. */
  acknowledge(): void {
    const count = this.#unacknowledged - this.#debt
    if (count <= 0) return
    this.#unacknowledged -= count
    this.#native.ackEventBatch(count)
  }

  /** Acknowledges everything from now on, because another server takes this one's place. */
  forgiveDebt(): void {
    this.#debt = 0
    this.acknowledge()
  }

  /** Closes all connections at once and ends the native threads. */
  close(clock: Clock): Promise<void> {
    this.#closing ??= this.#shutDown(clock)
    return this.#closing
  }

  async #shutDown(clock: Clock): Promise<void> {
    if (this.#port === undefined) return
    this.#native.requestShutdown()
    const patience = clock.after(SHUTDOWN_PATIENCE_MS, this.#ended.resolve)
    await this.#ended.promise
    patience.cancel()
    this.forgiveDebt()
    this.#native.joinWorker()
  }

  #dispatchBatch(batch: readonly NativeEvent[]): void {
    this.#unacknowledged += batch.length
    for (const event of batch) {
      try {
        this.#dispatch(event)
      } catch (error) {
        this.#onThrow(error)
      }
    }
    const drains = [...this.#drains.values()]
    this.#drains.clear()
    // Two of the same stream mean that nothing is left (see `#noteDrain`).
    for (const { session, stream, count } of drains) {
      this.#guard(() => this.#events.onRoom(session, stream, count > 1))
    }
    // A batch must be acknowledged whatever happens: a few that are not, and the addon stops reading.
    let acknowledge = true
    this.#guard(() => (acknowledge = this.#events.onBatchEnd()))
    if (acknowledge || this.#closing !== undefined) this.acknowledge()
  }

  /** A fault with one event must not keep the others from being handled. */
  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#onThrow(error)
    }
  }

  #onThrow(error: unknown): void {
    this.#events.onFault(error instanceof Error ? error : new Error(String(error)))
  }

  #dispatch(event: NativeEvent): void {
    const { connHandle: session, streamId: stream } = event
    const events = this.#events
    switch (event.eventType) {
      case DATA:
        return this.#onData(session, stream, event.data)
      case HEADERS:
        // The first content may arrive together with the head.
        events.onHeaders(session, stream, event.headers ?? [], event.fin === true && event.data === undefined)
        return this.#onData(session, stream, event.data)
      case FINISHED:
        return events.onFinished(session, stream)
      case RESET:
        if (this.#foreignResets.match(session, stream, event.meta?.errorCode)) return
        return events.onReset(session, stream, event.meta?.errorCode ?? 0)
      case STREAM_BLOCKED:
        return events.onBlocked(session, stream)
      case DRAIN:
        return this.#noteDrain(session, stream)
      case PING_ACK:
        return events.onPing(session)
      case WRITE_READY:
        return events.onAdmission()
      case NEW_SESSION:
        return events.onSession(session, event.meta?.remoteAddr ?? '', event.meta?.remotePort ?? 0)
      case HANDSHAKE_COMPLETE:
        return events.onHandshake(session)
      case SESSION_CLOSE:
        return events.onSessionClose(session, event.meta?.errorCode, event.meta?.errorReason ?? '')
      case ERROR:
        return this.#onError(event)
      case SHUTDOWN_COMPLETE:
        // Sent for the first thread; joining waits for the others.
        return this.#ended.resolve()
      default:
    }
  }

  #onData(session: number, stream: number, data: Buffer | undefined): void {
    if (data === undefined) return
    lendChunk(data)
    this.#events.onData(session, stream, data)
  }

  #onError({ connHandle: session, streamId: stream, meta }: NativeEvent): void {
    if (meta?.errorCategory === 'runtime')
      return this.#events.onFault(new Error(meta.errorReason ?? 'native fault'))
    // Errors of a whole connection are followed by its SESSION_CLOSE.
    if (stream < 0) return
    if (stream % 4 === 1) {
      this.#foreignResets.forget(session, stream - 1)
      return this.#events.onMark(session, stream - 1)
    }
    this.#events.onStreamError(session, stream, meta?.errorReason ?? 'stream error')
  }

  /**
   * The addon reports DRAIN when a blocked stream becomes writable, and again when nothing is left to write. The two
   * look alike, but the first kind comes at most once per batch, so two of them mean "nothing is left".
   */
  #noteDrain(session: number, stream: number): void {
    const key = `${session}:${stream}`
    const count = (this.#drains.get(key)?.count ?? 0) + 1
    this.#drains.set(key, { session, stream, count })
  }
}

const MARK = Buffer.alloc(1)
