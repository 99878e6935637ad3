/** One end of a stream that is relayed: the client's side of a tunnel, a socket to a target. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { StreamReset } from './stream-reset.ts'
import type { TargetReader, TunnelStream } from './tunnel-stream.ts'

export type { StreamReset }

export interface StreamEnd {
  /**
   * Readable: what the peer sends; `end` is its half-close. Writable: what the peer receives; `end()` closes our half
   * and leaves the other open. Backpressure works both ways. A reset by the peer, or the loss of its connection,
   * destroys the stream: `close` without `end`.
   */
  readonly io: Duplex
  /**
   * The peer has reset the stream with an error code: once `io` has closed, this tells a reset from an orderly leave.
   * Absent where `io` itself shows the difference.
   */
  readonly wasReset?: boolean
  /**
   * Whether the loss of the peer is noticed even after its half-close, because its connection goes on. Absent for a
   * stream with a connection to itself: there, a peer that is gone for good looks like one that only listens.
   */
  readonly showsLoss?: boolean
  /**
   * The same stream without a Duplex, where the transport can do that. Either this or `io` is used, never both; reading
   * this property commits to nothing.
   */
  readonly direct?: TunnelStream
  /** Ends both directions abruptly and destroys `io`. Idempotent; never throws. */
  reset(reason: StreamReset): void
  /** Takes back a chunk that was read from `io`, once it has been written to the other end. */
  recycle?(chunk: Buffer): void
}

/** A TCP connection; `io` is also for those who need the socket itself, as `node:http` does. It has an error listener. */
export interface TcpEnd extends StreamEnd {
  readonly io: Socket
  /**
   * From now on what the socket reads goes to `reader`, beginning with what it has buffered, and not to its readable
   * side; `end`, `close`, `pause` and `resume` of the socket work as before. Absent where the socket was not opened for
   * it.
   */
  readWith?(reader: TargetReader): void
}
