/** The options of an HTTP/3 transport, and what it needs from other rooms. */
import type { Clock } from '../../clock.ts'
import type { Counters } from '../../counters.ts'
import type { Channel, Session } from '../../contract/session.ts'
import type { AcceptSession } from '../../contract/session-listener.ts'
import type { Log } from '../../log.ts'
import type { UploadStore } from './upload.ts'

export interface Http3Options {
  /** An address literal; `::` includes IPv4. */
  readonly host: string
  readonly port: number
  /** PEM. */
  readonly cert: Buffer
  /** PEM. */
  readonly key: Buffer
  readonly maxIdleTimeoutMs: number
  readonly handshakeTimeoutMs: number
  /** Receive window of a connection before it grows. The library fixes those of its streams at 2,000,000. */
  readonly initialMaxDataBytes: number
  readonly maxStreamsBidi: number
  readonly disableActiveMigration: boolean
  /** Connections per native thread, handshakes included. */
  readonly maxConnections: number
  /** Answer every first packet with Retry (RFC 9000 section 8.1.2). */
  readonly retry: boolean
  /**
   * How many of the library's events are never acknowledged, so that it stops reading ahead earlier. It stops at 4096
   * outstanding events of all servers of the process, each with up to 64 KiB: the debt must stay below that.
   */
  readonly eventDebt: number
  /** The thread that had HTTP/3 before has died, and what it owed is owed no more. */
  readonly isHeir: boolean
}

/** The most that the server of a process may owe. */
export const MAX_EVENT_DEBT = 3840

export interface Http3Dependencies {
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Log
  readonly acceptSession: AcceptSession
  readonly uploads: UploadStore
  /** Whose share of the upload store a session uses; undefined as long as nobody has authenticated. */
  readonly userOf: (session: Session) => string | undefined
  /** The channel of the host in a plain request: the library does not reveal the server name. */
  readonly channelOf: (hostname: string) => Channel
  /**
   * A place for a connection whose handshake has begun; undefined when it must be refused. Only its address is known so
   * far.
   */
  readonly admit: (address: string) => ConnectionPlace | undefined
}

/** One of the limited places for connections. Every method is idempotent. */
export interface ConnectionPlace {
  handshakeDone(): void
  /** The connection is over. */
  release(): void
}
