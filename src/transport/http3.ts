/**
 * HTTP/3 (RFC 9114 over RFC 9000, specification 3.2): UDP on the port whose TCP half belongs to the gate.
 * `http3-native.ts` is the only file that knows the library.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { isIPv6 } from 'node:net'
import type { Clock } from '../clock.ts'
import type { Counters } from '../counters.ts'
import type { Log } from '../log.ts'
import type { AcceptSession, ClientSession } from '../tunnel/session.ts'
import { keyDirectoryIsPrivate, openHttp3Server } from './http3-native.ts'
import type { Http3Events, Http3Field, Http3Opening, Http3Server } from './http3-native.ts'
import { SendWindows } from './http3-send.ts'
import { Http3Session } from './http3-session.ts'
import type { SessionContext } from './http3-session.ts'
import type { Http3Stream } from './http3-stream.ts'
import type { UploadStore } from './http3-upload.ts'
import { LingerQueue } from './linger-queue.ts'

export interface Http3Options {
  /** An address literal; `::` takes IPv4 as well. */
  readonly host: string
  readonly port: number
  /** PEM. */
  readonly cert: Buffer
  /** PEM. */
  readonly key: Buffer
  readonly maxIdleTimeoutMs: number
  /** Largest UDP payload that is received and sent. Undefined: as much as the path takes, at most 1472. */
  readonly maxUdpPayloadBytes: number | undefined
  /** Receive window of a connection before it grows. Those of its streams are fixed by the library: 2,000,000. */
  readonly initialMaxDataBytes: number
  readonly maxStreamsBidi: number
  readonly disableActiveMigration: boolean
  /** Connections per native thread, handshakes included. */
  readonly maxConnections: number
  /** Answer every first packet with Retry (RFC 9000 section 8.1.2). */
  readonly retry: boolean
  /**
   * Events of the library that are never acknowledged, so that it stops reading ahead earlier. It stops at 4096
   * events of all servers of the process, each with up to 64 KiB: the sum of all debts must stay below that.
   */
  readonly eventDebt: number
}

/** What official clients and endpoints use (reference 10.1, 11.3). */
export const HTTP3_DEFAULTS = {
  maxIdleTimeoutMs: 2 * (30_000 + 7_000),
  maxUdpPayloadBytes: undefined,
  initialMaxDataBytes: 104_857_600,
  maxStreamsBidi: 4096,
  disableActiveMigration: true,
  maxConnections: 10_000,
  retry: true,
  eventDebt: 0,
} as const

/** What all servers of a process may owe together. */
export const MAX_EVENT_DEBT = 3840

export interface Http3Dependencies {
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Log
  readonly acceptSession: AcceptSession
  readonly uploads: UploadStore
  /** Whose share of the upload store a session uses. Default: each session its own. */
  readonly uploadKey?: (session: ClientSession) => string
  /** Inbound rules on the address alone; nothing else is known of a QUIC client. Default: everybody. */
  readonly admit?: (address: string) => boolean
}

export type Http3Start =
  | {
      readonly kind: 'listening'
      readonly port: number
      readonly driver: 'io_uring' | 'poll'
      /** False: another user of the machine could read the private key while a server is constructed. */
      readonly keyDirectoryIsPrivate: boolean
    }
  /** No addon for this platform. HTTP/1.1 and HTTP/2 are not affected. */
  | { readonly kind: 'unavailable'; readonly error: Error }

/** Threads of one process construct servers through files of one name and may disturb each other. */
const OPEN_ATTEMPTS = 6
const OPEN_RETRY_MS = 40
/** How long a producer pause may last; the addon itself ends it after 5 s. */
const MAX_PAUSE_MS = 2000
const CLOSE_DELAY_MS = 60
const MAPPED_PREFIX = '::ffff:'

let sessionCount = 0

export class Http3Transport {
  #options: Http3Options
  readonly #deps: Http3Dependencies
  readonly #linger: LingerQueue
  #listener: Listener | undefined
  readonly #retired = new Set<Listener>()
  #state: 'new' | 'listening' | 'closed' = 'new'

  constructor(options: Http3Options, deps: Http3Dependencies) {
    this.#options = options
    this.#deps = deps
    this.#linger = new LingerQueue(deps.clock)
  }

  /** Sessions whose handshake is complete. */
  get sessions(): number {
    let count = this.#listener?.sessionCount ?? 0
    for (const { sessionCount: more } of this.#retired) count += more
    return count
  }

  /** Binds UDP. Rejects when the certificate is refused or the address is taken. */
  async start(): Promise<Http3Start> {
    if (this.#state !== 'new') throw new Error('started already')
    const opened = await this.#open()
    if (opened.kind === 'unavailable') return opened
    this.#state = 'listening'
    const { listener, driver } = opened
    this.#listener = listener
    this.#options = { ...this.#options, port: listener.port }
    return { kind: 'listening', port: listener.port, driver, keyDirectoryIsPrivate: keyDirectoryIsPrivate() }
  }

  /**
   * New connections get the new certificate. The library cannot exchange it, so a second server binds the port
   * and the first one is closed. The kernel then spreads packets anew over more sockets and most of the old
   * connections are lost to it, which is why they are told after `graceMs` (default at once) to reconnect.
   * Rejects, and changes nothing, when the certificate is refused.
   */
  async replaceCertificate(cert: Buffer, key: Buffer, { graceMs = 0 } = {}): Promise<void> {
    const old = this.#listener
    if (this.#state !== 'listening' || old === undefined) return
    const previous = this.#options
    this.#options = { ...previous, cert, key }
    try {
      const opened = await this.#open()
      if (opened.kind === 'unavailable') throw opened.error
      this.#listener = opened.listener
    } catch (error) {
      this.#options = previous
      throw error
    }
    this.#retired.add(old)
    old.retire()
    await old.close(graceMs)
    this.#retired.delete(old)
  }

  /** Takes no new requests, lets open streams finish, then closes the port. Idempotent. */
  async close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#state = 'closed'
    await Promise.all(this.#listeners().map((listener) => listener.close(graceMs)))
    this.#linger.destroy()
  }

  /** Ends everything now. */
  destroy(reason: Error): void {
    this.#state = 'closed'
    for (const listener of this.#listeners()) listener.destroy(reason)
    this.#linger.destroy()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close({ graceMs: 0 })
  }

  #listeners(): Listener[] {
    return [...(this.#listener ? [this.#listener] : []), ...this.#retired]
  }

  async #open(): Promise<ListenerOpening> {
    for (let attempt = 1; ; attempt++) {
      try {
        return openListener(this.#options, this.#deps, this.#linger)
      } catch (error) {
        if (attempt === OPEN_ATTEMPTS || isAddressFault(error)) throw error
        await delay(OPEN_RETRY_MS * attempt)
      }
    }
  }
}

/** EADDRINUSE, EADDRNOTAVAIL, EACCES as the addon words them. */
function isAddressFault(error: unknown): boolean {
  return error instanceof Error && /errno=(?:98|99|13)\b/u.test(error.message)
}

type ListenerOpening =
  | { readonly kind: 'open'; readonly listener: Listener; readonly driver: 'io_uring' | 'poll' }
  | Extract<Http3Opening, { kind: 'unavailable' }>

function openListener(options: Http3Options, deps: Http3Dependencies, linger: LingerQueue): ListenerOpening {
  const listener = new Listener(deps, linger)
  const opening = openHttp3Server(
    {
      key: options.key,
      cert: options.cert,
      maxIdleTimeoutMs: options.maxIdleTimeoutMs,
      ...(options.maxUdpPayloadBytes === undefined ? {} : { maxUdpPayloadSize: options.maxUdpPayloadBytes }),
      initialMaxData: options.initialMaxDataBytes,
      initialMaxStreamsBidi: options.maxStreamsBidi,
      disableActiveMigration: options.disableActiveMigration,
      maxConnections: options.maxConnections,
      disableRetry: !options.retry,
      reusePort: true,
    },
    { host: options.host, port: options.port },
    listener,
    options.eventDebt,
  )
  if (opening.kind === 'unavailable') return opening
  listener.run(opening.server)
  return { kind: 'open', listener, driver: opening.driver }
}

/** A handshake under way; nobody has heard of it yet. */
interface Handshake {
  readonly address: string
  readonly port: number
}

/** One native server and its sessions. */
class Listener implements Http3Events {
  readonly #deps: Http3Dependencies
  readonly #linger: LingerQueue
  readonly #handshakes = new Map<number, Handshake>()
  readonly #sessions = new Map<number, Http3Session>()
  /** Streams with input that has arrived in the current batch. */
  #touched: Http3Stream[] = []
  #server: Http3Server | undefined
  #windows: SendWindows | undefined
  #context: SessionContext | undefined
  #closing: Promise<void> | undefined

  constructor(deps: Http3Dependencies, linger: LingerQueue) {
    this.#deps = deps
    this.#linger = linger
  }

  get port(): number {
    return this.#server?.address.port ?? 0
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  run(server: Http3Server): void {
    const { clock, counters, uploads, uploadKey = ({ id }) => id } = this.#deps
    this.#server = server
    this.#windows = new SendWindows(server, clock)
    this.#context = {
      server,
      windows: this.#windows,
      linger: this.#linger,
      uploads,
      uploadKey,
      clock,
      counters,
      onEnd: (session) => this.#sessions.delete(session.handle),
    }
  }

  retire(): void {
    this.#server?.forgiveDebt()
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
    const sessions = [...this.#sessions.values()]
    await Promise.all(sessions.map((session) => session.close({ graceMs })))
    // The library ends a connection a moment after it is told to, and ends them all with code 0 when it stops.
    if (sessions.length > 0) await delay(CLOSE_DELAY_MS)
    await this.#server?.close()
    this.#windows?.destroy()
  }

  onSession(handle: number, address: string, port: number): void {
    const plain =
      address.startsWith(MAPPED_PREFIX) && address.includes('.')
        ? address.slice(MAPPED_PREFIX.length)
        : address
    const remote = isIPv6(plain) ? (plain.split('%', 1)[0] ?? plain) : plain
    if (this.#deps.admit?.(remote) === false) {
      this.#deps.counters.count('http3_denied')
      this.#server?.closeSession(handle, 0x100, '')
      return
    }
    // Not every lost connection is announced; its number is used again all the same.
    this.#sessions.get(handle)?.onClose(undefined)
    this.#handshakes.set(handle, { address: remote, port })
  }

  onHandshake(handle: number): void {
    const handshake = this.#handshakes.get(handle)
    if (handshake === undefined || this.#context === undefined) return
    this.#handshakes.delete(handle)
    if (this.#closing !== undefined) return this.#server?.closeSession(handle, 0x100, '')
    const session = new Http3Session(handle, handshake, `h3-${process.pid}-${++sessionCount}`, this.#context)
    this.#sessions.set(handle, session)
    session.open(this.#deps.acceptSession)
  }

  onHeaders(handle: number, stream: number, fields: readonly Http3Field[], fin: boolean): void {
    this.#sessions.get(handle)?.onHeaders(stream, fields, fin)
  }

  onData(handle: number, id: number, chunk: Buffer): void {
    const stream = this.#sessions.get(handle)?.stream(id)
    if (stream?.onData(chunk)) this.#touched.push(stream)
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
    this.#sessions.get(handle)?.stream(stream)?.onBlocked()
  }

  onRoom(handle: number, stream: number, empty: boolean): void {
    this.#sessions.get(handle)?.stream(stream)?.onRoom(empty)
  }

  onMark(handle: number, stream: number): void {
    this.#sessions.get(handle)?.stream(stream)?.onMark()
  }

  onAdmission(): void {
    this.#windows?.onAdmission()
  }

  onSessionClose(handle: number, code: number | undefined, reason: string): void {
    this.#handshakes.delete(handle)
    const inOrder = code === undefined || code === 0 || code === 0x100
    this.#sessions.get(handle)?.onClose(inOrder ? undefined : new Error(`QUIC close ${code}: ${reason}`))
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
