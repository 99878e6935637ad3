/**
 * The client's side of a TCP tunnel without a Duplex: bytes are handed over in calls and copied at most once
 * (`relay/direct-relay.ts`). What it means is the same as that of `StreamEnd`; what it saves is a third of the CPU time
 * and three quarters of the memory of a tunnel.
 */
import type { StreamReset } from './stream-reset.ts'

/**
 * How a client's side has gone. `left`: in order, with nothing more to come, always after its EOF was delivered
 * (RST_STREAM with NO_ERROR, which is how clients say that they are done). `reset`: with an error code, or its
 * connection is lost. `cancelled`: ended from our side, see `Exchange.cancel`.
 */
export type TunnelLoss = 'left' | 'reset' | 'cancelled'

export interface TunnelStream {
  /** As `StreamEnd.showsLoss`. */
  readonly showsLoss: boolean
  /** Bytes that were written and have not left yet; for idle limits. */
  readonly unsentBytes: number
  /**
   * Hands the stream over, once; nobody may use the Duplex of the same stream. What has arrived already, EOF included,
   * is delivered before this returns.
   */
  start(receiver: TunnelReceiver): void
  /**
   * Takes all of `from[start..end)`; the buffer is the caller's again when this returns. False: write no more until
   * {@link TunnelReceiver.onRoom}. At most one read of a socket may be passed after false.
   */
  write(from: Buffer, start: number, end: number): boolean
  /** EOF after what was written. {@link TunnelReceiver.onFlushed} follows, perhaps before this returns. */
  end(): void
  /**
   * `bytes` of what was delivered have been taken by the target: the client may send as many more. Every byte is
   * credited once, or the stream is reset. That goes on after both EOFs and after `onLost('left')`: until then the bytes
   * are in our memory, and a session that had them back with the end of the stream could fill it with short ones.
   */
  credit(bytes: number): void
  /** As `StreamEnd.reset`, also before `start` and after `onLost`. No call to the receiver follows. */
  reset(reason: StreamReset): void
}

/** Receives what a {@link TunnelStream} delivers. None of these may throw. */
export interface TunnelReceiver {
  /** `chunk` stays as it is for as long as it is referred to, and keeps up to 64 KiB of memory alive. */
  onData(chunk: Buffer): void
  /** The client's EOF: no data follows. */
  onEnd(): void
  /** Write no more until {@link onRoom}, as after a write that returned false. Left out where nothing is read ahead. */
  onStop?(): void
  /** There is room again after a write that returned false, or after {@link onStop}. */
  onRoom(): void
  /** Everything that was written, and our EOF, have left. */
  onFlushed(): void
  /** Nothing can be sent or received any more. Not called once both EOFs have passed. */
  onLost(how: TunnelLoss): void
}

/** A target's socket that can be read without its Readable (`relay/read-pool.ts`). */
export interface TargetReader {
  /**
   * `from[0..bytes)` is valid during the call only. False: the socket pauses until its `resume()`, and nothing more is
   * delivered meanwhile.
   */
  onTargetData(from: Buffer, bytes: number): boolean
}
