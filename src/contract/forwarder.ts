/** What the dispatcher asks of `forward`: open first (everything that can be refused), then run. */
import type { Log, Privacy } from '../log.ts'
import type { ProtocolLabel } from './session.ts'
import type { StreamEnd } from './stream-end.ts'

/** Whom a tunnel belongs to, and what may be logged about it. */
export interface TunnelContext {
  readonly user: string
  readonly sessionId: string
  readonly protocol: ProtocolLabel
  readonly log: Log
  /** What the log may say about addresses. */
  readonly privacy: Privacy
  /** Aborted when the client gives up, the session ends, or the user's credentials are revoked. */
  readonly signal: AbortSignal
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
   * Moves bytes until both directions have ended, one was reset, or the signal fires. Owns and ends `stream`. Never
   * rejects.
   */
  run(stream: StreamEnd): Promise<TunnelEnd>
  /** Drops the target when `run` will not be called. Idempotent. */
  destroy(): void
}

/** One kind of tunnel. `Target` is the parsed authority. */
export interface Forwarder<Target> {
  /** Rejects with an `EndpointError` whose code is a `RefusalCode`. */
  open(target: Target, context: TunnelContext): Promise<OpenTunnel>
}
