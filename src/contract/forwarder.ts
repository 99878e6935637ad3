/** What the dispatcher asks of `forward`: open first (everything that can be refused), then run. */
import type { Log, Privacy } from '../log.ts'
import type { Cancellation } from './cancellation.ts'
import type { ProtocolLabel } from './session.ts'
import type { StreamEnd } from './stream-end.ts'

/** Whom a tunnel belongs to, what may be logged about it, and who hears what becomes of it. */
export interface TunnelContext {
  readonly user: string
  readonly sessionId: string
  readonly protocol: ProtocolLabel
  readonly log: Log
  /** What the log may say about addresses. */
  readonly privacy: Privacy
  /** Fires when the client gives up, the session ends, or the user's credentials are revoked. */
  readonly cancellation: Cancellation
  /** The same as a signal, made when it is asked for. */
  readonly signal: AbortSignal
  /** The target is ready. Never throws. */
  onOpen(tunnel: OpenTunnel): void
  /** There will be no tunnel. `error` is an `EndpointError` whose code is a `RefusalCode`, or a fault of ours. */
  onRefused(error: unknown): void
  /** What {@link OpenTunnel.run} began is over. */
  onEnd(end: TunnelEnd): void
  /** The same for a fault of ours: the stream is reset. */
  onFault(error: unknown): void
}

export type TunnelEndReason =
  'ended' | 'idle' | 'client_reset' | 'target_reset' | 'aborted' | 'protocol_error'

export interface TunnelEnd {
  readonly reason: TunnelEndReason
  /** Bytes of content from client to target. */
  readonly uplinkBytes: number
  /** Bytes of content from target to client. */
  readonly downlinkBytes: number
}

/** The end of a plain request that was forwarded. */
export interface ForwardEnd extends TunnelEnd {
  /**
   * Why there was no answer from the target; the request still waits for one. An `EndpointError`, or a fault of ours.
   */
  readonly failure?: unknown
}

/** An admitted tunnel whose target is ready. */
export interface OpenTunnel {
  /** When true, the 200 itself ends the stream and nothing runs (`_check`). */
  readonly endsAtOnce?: boolean
  /**
   * Moves bytes until both directions have ended, one was reset, or the tunnel is cancelled; then calls
   * {@link TunnelContext.onEnd}, perhaps before this returns. Owns and ends `stream`.
   */
  run(stream: StreamEnd): void
  /** Drops the target when `run` will not be called. Idempotent. */
  destroy(): void
}

/** One kind of tunnel. `Target` is the parsed authority. */
export interface Forwarder<Target> {
  /** Calls `context.onOpen` or `context.onRefused`, once, perhaps before this returns; what it throws counts as refused. */
  open(target: Target, context: TunnelContext): void
}
