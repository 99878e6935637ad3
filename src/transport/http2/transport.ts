/** HTTP/2 (RFC 9113, specification 3.1) as sessions and requests. Receives a TLS socket on which ALPN chose `h2`. */
import http2 from 'node:http2'
import { collectGarbage } from '../../heap.ts'
import { HeadMemory } from './head-memory.ts'
import { Http2Session } from './session.ts'
import type { Http2Dependencies } from './session.ts'
import { LingerQueue } from '../linger.ts'
import type { TransportConnection } from '../tls.ts'

interface Http2Options {
  /** SETTINGS_INITIAL_WINDOW_SIZE, bytes. */
  streamWindowBytes: number
  /** Receive window of the whole connection, bytes. */
  sessionWindowBytes: number
  maxConcurrentStreams: number
  maxFrameBytes: number
  /** SETTINGS_MAX_HEADER_LIST_SIZE, bytes. */
  maxHeaderListBytes: number
}

/**
 * Clients end every tunnel with RST_STREAM, so resets are ordinary here; this still bounds, per session, what a rapid
 * reset (CVE-2023-44487) can cost.
 */
const STREAM_RESET_BURST = 5000
const STREAM_RESETS_PER_SECOND = 1000
/** Node's own ceiling is 10 MB, less than the receive windows that the settings promise. */
const SESSION_MEMORY_MEGABYTES = 64
const MAX_HEADER_FIELDS = 128

export class Http2Transport {
  readonly #options: Http2Options
  readonly #deps: Http2Dependencies
  readonly #linger: LingerQueue
  readonly #heads = new HeadMemory(collectGarbage)

  constructor(options: Http2Options, deps: Http2Dependencies) {
    this.#options = options
    this.#deps = deps
    this.#linger = new LingerQueue(deps.clock)
  }

  /** Takes the socket over. */
  accept(connection: TransportConnection): void {
    const { streamWindowBytes, sessionWindowBytes, maxConcurrentStreams, maxFrameBytes, maxHeaderListBytes } =
      this.#options
    const session = http2.performServerHandshake(connection.socket, {
      settings: {
        initialWindowSize: streamWindowBytes,
        maxConcurrentStreams,
        maxFrameSize: maxFrameBytes,
        maxHeaderListSize: maxHeaderListBytes,
      },
      maxSessionMemory: SESSION_MEMORY_MEGABYTES,
      maxHeaderListPairs: MAX_HEADER_FIELDS,
      streamResetBurst: STREAM_RESET_BURST,
      streamResetRate: STREAM_RESETS_PER_SECOND,
    })
    session.setLocalWindowSize(sessionWindowBytes)
    new Http2Session(session, connection, this.#deps, this.#linger, this.#heads).listen()
  }

  /** Stops the shared timer. Whoever has the sessions ends them. */
  destroy(): void {
    this.#linger.destroy()
  }
}
