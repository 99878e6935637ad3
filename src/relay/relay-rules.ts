/**
 * The rules of every relay, whatever moves its bytes: half-close kept, one idle limit over both directions
 * (specification 5.3, 5.4).
 *
 * What ends it:
 * - both ends sent EOF and both EOFs were flushed: `ended`;
 * - the client closes without EOF: the target is reset at once;
 * - the target closes without EOF: the client is reset with `connect_error` (RFC 9113 section 8.5);
 * - an end closes after its EOF but before it took everything from the other (for HTTP/2 that is what
 *   RST_STREAM(NO_ERROR) looks like, which is how clients say that they are done): what it sent is still
 *   delivered, what arrives for it is discarded;
 * - nothing moved for `idleTimeoutMs`, or the tunnel was cancelled: both are reset.
 */
import type { StreamReset } from '../contract/stream-end.ts'
import type { IdleMonitor, IdleWatch, Watched } from './idle-monitor.ts'

export interface RelayOptions {
  /** The relay ends when no byte has moved in either direction for this long. */
  readonly idleTimeoutMs: number
  /** For protocols without half-close: once either side has sent EOF, this much silence ends the relay. */
  readonly halfClosedIdleMs?: number
  readonly idleMonitor: IdleMonitor
  /** Cancels the relay. Not looked at where the client's stream itself tells (`StreamEnd.direct`). */
  readonly signal: AbortSignal
}

type RelayEndReason = 'ended' | 'idle' | 'client_reset' | 'target_reset' | 'aborted'

export interface RelayOutcome {
  readonly reason: RelayEndReason
  /** Bytes taken from the client and handed to the target. */
  readonly uplinkBytes: number
  /** Bytes taken from the target and handed to the client. */
  readonly downlinkBytes: number
}

/** Hears of a relay when it is over, once. */
export interface RelayOwner {
  onEnd(outcome: RelayOutcome): void
}

/** `ended`: the sender's EOF was passed on. `flushed`: it has left. */
type DirectionState = 'open' | 'ended' | 'flushed'

/** How much a target may still send to a client that left in order, before the target is reset. */
const DISCARD_LIMIT_BYTES = 1_048_576
/** The idle limit, if the general one is longer, once a client has sent EOF and its loss would no longer be noticed. */
const HALF_CLOSED_IDLE_MS = 300_000
/** How long a target may go without taking any of what a departed client had sent. */
const FLUSH_MS = 60_000
/** How long a target that has received everything may take to end its side. */
const LINGER_MS = 5000

/** A subclass moves the bytes and reports what happens to the two ends; one object per relay. */
export abstract class RelayRules implements Watched {
  readonly #options: RelayOptions
  readonly #owner: RelayOwner
  #uplink: DirectionState = 'open'
  #downlink: DirectionState = 'open'
  #clientGone = false
  #targetGone = false
  #lingering = false
  #stopped = false
  #discardedBytes = 0
  #watch: IdleWatch | undefined

  constructor(options: RelayOptions, owner: RelayOwner) {
    this.#options = options
    this.#owner = owner
  }

  /** Bytes taken from the client and handed to the target. */
  protected abstract readonly uplinkBytes: number
  /** Bytes taken from the target and handed to the client. */
  protected abstract readonly downlinkBytes: number
  /** Bytes handed to either end that have not left it. */
  protected abstract readonly unsentBytes: number
  /** As `StreamEnd.showsLoss` of the client. */
  protected abstract readonly showsLoss: boolean
  /** Passes the client's EOF on. True if everything has left already; else `targetFlushed` follows. */
  protected abstract endTarget(): boolean
  /** Passes the target's EOF on. True if everything has left already; else `clientFlushed` follows. */
  protected abstract endClient(): boolean
  /** The client has gone: what the target still sends goes to `discard`. */
  protected abstract drainTarget(): void
  /** The relay is over: no listener stays. With `reset` the client is reset for that reason, the target cancelled. */
  protected abstract letGo(reset: StreamReset | undefined): void

  protected get stopped(): boolean {
    return this.#stopped
  }

  /** Nothing can be sent to the client, nor received from it. */
  protected get clientGone(): boolean {
    return this.#clientGone
  }

  protected startWatch(): void {
    this.#limitSilence(this.#options.idleTimeoutMs)
  }

  /** For the idle monitor: changes whenever a byte was read, and whenever one that was waiting was written. */
  activity(): number {
    return this.#lingering ? 0 : 2 * (this.uplinkBytes + this.downlinkBytes) - this.unsentBytes
  }

  /** For the idle monitor. */
  onIdle(): void {
    if (this.#clientGone) this.#giveUp()
    else this.stop('idle', 'cancel')
  }

  protected clientEnded(): void {
    this.#uplink = 'ended'
    if (this.endTarget()) this.#uplink = 'flushed'
    const { halfClosedIdleMs } = this.#options
    if (halfClosedIdleMs !== undefined) this.#limitSilence(halfClosedIdleMs)
    // Over HTTP/1.1 a client that is gone for good looks the same: after its EOF nothing watches the socket.
    else if (!this.showsLoss) this.#limitSilence(HALF_CLOSED_IDLE_MS)
    this.#settle()
  }

  protected targetEnded(): void {
    this.#downlink = 'ended'
    if (this.endClient()) this.#downlink = 'flushed'
    const { halfClosedIdleMs } = this.#options
    if (halfClosedIdleMs !== undefined && !this.#clientGone) this.#limitSilence(halfClosedIdleMs)
    this.#settle()
  }

  protected targetFlushed(): void {
    if (this.#uplink === 'ended') this.#uplink = 'flushed'
    this.#settle()
  }

  protected clientFlushed(): void {
    if (this.#downlink === 'ended') this.#downlink = 'flushed'
    this.#settle()
  }

  protected targetClosed(): void {
    this.#targetGone = true
    if (this.#clientGone) this.stop('ended')
    else if (this.#downlink !== 'open') this.#settle()
    else this.stop('target_reset', 'connect_error')
  }

  protected clientClosed(wasReset: boolean): void {
    this.#clientGone = true
    const orderly = this.#uplink !== 'open' && (this.#downlink === 'flushed' || !wasReset)
    if (!orderly) return this.stop('client_reset', 'cancel')
    if (this.#targetGone) return this.stop('ended')
    // Nobody will take what the target was paused for.
    this.drainTarget()
    this.#limitSilence(FLUSH_MS)
    this.#settle()
  }

  /** Bytes arrived from the target for a client that does not take them any more. */
  protected discard(bytes: number): void {
    this.#discardedBytes += bytes
    if (this.#discardedBytes > DISCARD_LIMIT_BYTES) this.#giveUp()
  }

  /** The one way out. With `reset` both ends are cut. */
  protected stop(reason: RelayEndReason, reset?: StreamReset): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#watch?.cancel()
    this.letGo(reset)
    this.#owner.onEnd({ reason, uplinkBytes: this.uplinkBytes, downlinkBytes: this.downlinkBytes })
  }

  /** The client has left, and its target has had its time. */
  #giveUp(): void {
    this.stop('ended', 'cancel')
  }

  #limitSilence(timeoutMs: number): void {
    if (this.#stopped) return
    const { idleMonitor, idleTimeoutMs } = this.#options
    this.#watch?.cancel()
    this.#watch = idleMonitor.watch(Math.min(timeoutMs, idleTimeoutMs), this)
  }

  /** Called after an EOF, its flush, or the close of an end that had sent its EOF: is anything left to do? */
  #settle(): void {
    const targetHasAll = this.#uplink === 'flushed'
    const clientHasAll = this.#downlink === 'flushed'
    if (targetHasAll && clientHasAll) this.stop('ended')
    else if (this.#targetGone && !targetHasAll && clientHasAll) this.stop('target_reset', 'connect_error')
    else if (this.#clientGone && targetHasAll) {
      if (this.#downlink !== 'open') this.stop('ended')
      else this.#linger()
    }
  }

  /**
   * The client left after its EOF, and the target has received that EOF. Closing now would make the kernel answer the
   * target's data with RST and drop what it has not delivered yet, so the target gets a moment to end, however much it
   * sends.
   */
  #linger(): void {
    if (this.#stopped) return
    this.#lingering = true
    this.#watch?.cancel()
    this.#watch = this.#options.idleMonitor.watch(LINGER_MS, this)
  }
}
