/** One end of a stream that is relayed: the client's side of a tunnel, a socket to a target. */
import type { Duplex } from 'node:stream'

/**
 * Why a stream is ended abruptly. Each transport maps it to its own code: RFC 9113 section 7, RFC 9114
 * section 8.1; HTTP/1.1 and TCP send RST.
 */
export type StreamReset = 'no_error' | 'cancel' | 'connect_error' | 'excessive_load' | 'internal_error'

export interface StreamEnd {
  /**
   * Readable: what the peer sends; `end` is its half-close. Writable: what the peer receives; `end()` closes our
   * half and leaves the other open. Backpressure is real both ways. A reset by the peer, or the loss of its
   * connection, destroys it: `close` without `end`.
   */
  readonly io: Duplex
  /** The peer has reset it with an error code: tells that from an orderly leave once `io` has closed. Absent where `io` says so itself. */
  readonly wasReset?: boolean
  /**
   * The loss of the peer shows also after its half-close, since its connection goes on. Absent for a connection of its
   * own: a peer that has gone for good looks like one that only listens.
   */
  readonly showsLoss?: boolean
  /** Ends both directions abruptly and destroys `io`. Idempotent; never throws. */
  reset(reason: StreamReset): void
  /** Takes back a chunk that was read from `io`, once it has been written to the other end. */
  recycle?(chunk: Buffer): void
}
