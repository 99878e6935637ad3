/**
 * The relay of all streams: two directions, half-close kept, one idle limit over both (specification 5.3, 5.4).
 *
 * What ends it:
 * - both ends sent EOF and both EOFs were flushed: `ended`;
 * - the client closes without EOF: the target is reset at once;
 * - the target closes without EOF: the client is reset with `connect_error` (RFC 9113 section 8.5);
 * - an end closes after its EOF but before it took everything from the other (for HTTP/2 that is what
 *   RST_STREAM(NO_ERROR) looks like, which is how clients say that they are done): what it sent is still
 *   delivered, what arrives for it is discarded;
 * - nothing moved for `idleTimeoutMs`, or the signal fired: both are reset.
 *
 * Measured over TLS on loopback, node 26.10, CPU-seconds of the process per GiB, four alternating runs of 256 MiB:
 * 'data' with pause/resume 1.3-1.7 down and 1.4-1.9 up; a 'readable' loop 1.4-1.6 and 2.0; pipe 1.65-1.9 and 1.9; two
 * pipelines 1.5-1.75 and 1.8-1.95; corking the uplink until the end of the event loop's turn 1.2-1.5 up, since a DATA
 * frame is at most 16 KiB and the frames of one TLS read then share a writev. Corking the downlink, uncorking in
 * nextTick and socket buffers above 64 KiB were all slower.
 */
import type { Duplex } from 'node:stream'
import type { StreamEnd, StreamReset } from '../contract/stream-end.ts'
import type { IdleMonitor, IdleWatch } from './idle-monitor.ts'

interface RelayOptions {
  /** The relay ends when no byte has moved in either direction for this long. */
  readonly idleTimeoutMs: number
  /** For protocols without half-close: once either side has sent EOF, this much silence ends the relay. */
  readonly halfClosedIdleMs?: number
  readonly idleMonitor: IdleMonitor
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

/** A read as large as this is worth a write of its own. */
const BATCH_BELOW_BYTES = 32_768
/** How much a target may still send to a client that left in order, before the target is reset. */
const DISCARD_LIMIT_BYTES = 1_048_576
/** The idle limit, if the general one is longer, once a client has sent EOF and its loss would no longer be noticed. */
const HALF_CLOSED_IDLE_MS = 300_000
/** How long a target may go without taking any of what a departed client had sent. */
const FLUSH_MS = 60_000
/** How long a target that has received everything may take to end its side. */
const LINGER_MS = 5000

function ignoreError(): void {
  // Every error is followed by 'close', and the relay acts on that.
}

/** An error without a listener ends the process, even one that comes after the relay, so it listens until 'close'. */
function guardErrors(io: Duplex): void {
  io.on('error', ignoreError)
  io.once('close', () => io.off('error', ignoreError))
}

interface DirectionOptions {
  /** Takes chunks that have been written. */
  readonly recycle: ((chunk: Buffer) => void) | undefined
  /** Collect the writes of one turn of the event loop. */
  readonly batch: boolean
  /** How much may still arrive for a receiver that is gone before `onExcess` is called. */
  readonly discardBytes: number
  readonly onExcess: () => void
}

/** Bytes from one end to the other. */
class Direction {
  readonly from: Duplex
  readonly to: Duplex
  bytes = 0
  /** `from` sent EOF, and it was passed on. */
  ended = false
  /** That EOF has left `to`. */
  flushed = false
  readonly #options: DirectionOptions
  #discardedBytes = 0
  #corked = false
  /** Written but not yet confirmed, oldest first; used only with `recycle`. */
  readonly #unconfirmed: Buffer[] = []

  constructor(from: Duplex, to: Duplex, options: DirectionOptions) {
    this.from = from
    this.to = to
    this.#options = options
  }

  attach(): void {
    this.to.on('drain', this.#onDrain)
    this.from.on('data', this.#onData)
    // A stream that somebody paused stays paused when a 'data' listener is added.
    this.from.resume()
  }

  detach(): void {
    this.to.off('drain', this.#onDrain)
    this.from.off('data', this.#onData)
  }

  /** Passes EOF on. */
  end(): void {
    this.ended = true
    if (this.to.writableFinished) this.flushed = true
    else this.to.end()
  }

  readonly #onData = (chunk: Buffer): void => {
    const to = this.to
    // Node itself ends the writable side of an HTTP/2 stream that its peer resets; 'close' comes later.
    if (to.writableEnded || to.destroyed) {
      this.#discardedBytes += chunk.length
      if (this.#discardedBytes > this.#options.discardBytes) this.#options.onExcess()
      return
    }
    this.bytes += chunk.length
    if (this.#options.batch && !this.#corked && chunk.length < BATCH_BELOW_BYTES) {
      this.#corked = true
      to.cork()
      setImmediate(this.#uncork)
    }
    if (!this.#write(chunk)) this.from.pause()
  }

  #write(chunk: Buffer): boolean {
    if (this.#options.recycle === undefined) return this.to.write(chunk)
    this.#unconfirmed.push(chunk)
    return this.to.write(chunk, this.#onWritten)
  }

  readonly #onWritten = (error?: Error | null): void => {
    const chunk = this.#unconfirmed.shift()
    // After a failure somebody may still be looking at it.
    if (chunk !== undefined && !error) this.#options.recycle?.(chunk)
  }

  readonly #onDrain = (): void => {
    this.from.resume()
  }

  readonly #uncork = (): void => {
    this.#corked = false
    this.to.uncork()
  }
}

class StreamRelay {
  readonly #client: StreamEnd
  readonly #target: StreamEnd
  readonly #options: RelayOptions
  readonly #resolve: (outcome: RelayOutcome) => void
  readonly #up: Direction
  readonly #down: Direction
  /** 'close' was emitted. `Http2Stream.closed` does not help: it is true while there is still data to read. */
  #clientClosed = false
  #targetClosed = false
  #watch: IdleWatch | undefined
  #stopped = false

  constructor(
    client: StreamEnd,
    target: StreamEnd,
    options: RelayOptions,
    resolve: (outcome: RelayOutcome) => void,
  ) {
    this.#client = client
    this.#target = target
    this.#options = options
    this.#resolve = resolve
    this.#up = new Direction(client.io, target.io, {
      recycle: client.recycle?.bind(client),
      batch: true,
      discardBytes: 0,
      onExcess: () => client.io.pause(),
    })
    this.#down = new Direction(target.io, client.io, {
      recycle: target.recycle?.bind(target),
      batch: false,
      discardBytes: DISCARD_LIMIT_BYTES,
      onExcess: this.#onGivenUp,
    })
  }

  start(): void {
    const { signal, idleMonitor, idleTimeoutMs } = this.#options
    guardErrors(this.#client.io)
    guardErrors(this.#target.io)
    if (signal.aborted) return this.#stop('aborted', 'cancel')
    if (this.#target.io.destroyed) return this.#stop('target_reset', 'connect_error')
    if (this.#client.io.destroyed) return this.#stop('client_reset', 'cancel')
    this.#attach()
    this.#watch = idleMonitor.watch(idleTimeoutMs, this.#activity, this.#onIdle)
    if (this.#client.io.readableEnded) this.#onClientEnd()
    if (this.#target.io.readableEnded) this.#onTargetEnd()
  }

  #attach(): void {
    this.#options.signal.addEventListener('abort', this.#onAbort)
    const client = this.#client.io
    const target = this.#target.io
    client.on('end', this.#onClientEnd)
    target.on('end', this.#onTargetEnd)
    client.on('finish', this.#onClientFinish)
    target.on('finish', this.#onTargetFinish)
    client.on('close', this.#onClientClose)
    target.on('close', this.#onTargetClose)
    this.#up.attach()
    this.#down.attach()
  }

  #detach(): void {
    this.#options.signal.removeEventListener('abort', this.#onAbort)
    const client = this.#client.io
    const target = this.#target.io
    client.off('end', this.#onClientEnd)
    target.off('end', this.#onTargetEnd)
    client.off('finish', this.#onClientFinish)
    target.off('finish', this.#onTargetFinish)
    client.off('close', this.#onClientClose)
    target.off('close', this.#onTargetClose)
    this.#up.detach()
    this.#down.detach()
  }

  /** Grows whenever a byte was read, and whenever one that was waiting was written. */
  readonly #activity = (): number => {
    const read = this.#up.bytes + this.#down.bytes
    return 2 * read - this.#client.io.writableLength - this.#target.io.writableLength
  }

  readonly #onAbort = (): void => {
    // A transport also aborts when the client's stream closes; the 'close' that is about to come says more.
    const closing = this.#client.io.destroyed && !this.#clientClosed
    if (!closing) this.#stop('aborted', 'cancel')
  }

  readonly #onIdle = (): void => this.#stop('idle', 'cancel')

  /** The client has left, and its target has had its time. */
  readonly #onGivenUp = (): void => this.#stop('ended', 'cancel')

  readonly #onClientEnd = (): void => {
    this.#up.end()
    const { halfClosedIdleMs } = this.#options
    if (halfClosedIdleMs !== undefined) this.#limitSilence(halfClosedIdleMs)
    // Over HTTP/1.1 a client that is gone for good looks the same: after its EOF nothing watches the socket.
    else if (this.#client.showsLoss !== true) this.#limitSilence(HALF_CLOSED_IDLE_MS)
    this.#settle()
  }

  #limitSilence(timeoutMs: number): void {
    const { idleMonitor, idleTimeoutMs } = this.#options
    this.#watch?.cancel()
    this.#watch = idleMonitor.watch(Math.min(timeoutMs, idleTimeoutMs), this.#activity, this.#onIdle)
  }

  readonly #onTargetEnd = (): void => {
    this.#down.end()
    const { halfClosedIdleMs } = this.#options
    if (halfClosedIdleMs !== undefined && !this.#clientClosed) this.#limitSilence(halfClosedIdleMs)
    this.#settle()
  }

  readonly #onTargetFinish = (): void => {
    this.#up.flushed = this.#up.ended
    this.#settle()
  }

  readonly #onClientFinish = (): void => {
    this.#down.flushed = this.#down.ended
    this.#settle()
  }

  readonly #onTargetClose = (): void => {
    this.#targetClosed = true
    if (this.#clientClosed) this.#stop('ended')
    else if (this.#down.ended) this.#settle()
    else this.#stop('target_reset', 'connect_error')
  }

  readonly #onClientClose = (): void => {
    this.#clientClosed = true
    const { io, wasReset = io.errored !== null } = this.#client
    const orderly = this.#up.ended && (this.#down.flushed || !wasReset)
    if (!orderly) return this.#stop('client_reset', 'cancel')
    if (this.#targetClosed) return this.#stop('ended')
    // Nobody will drain the writes that the target was paused for.
    this.#target.io.resume()
    this.#limit(Math.min(FLUSH_MS, this.#options.idleTimeoutMs), this.#activity)
    this.#settle()
  }

  /** Called after an EOF, its flush, or the close of an end that had sent its EOF: is anything left to do? */
  #settle(): void {
    const { ended: targetEnded, flushed: clientHasAll } = this.#down
    if (this.#up.flushed && clientHasAll) this.#stop('ended')
    else if (this.#targetClosed && !this.#up.flushed && clientHasAll)
      this.#stop('target_reset', 'connect_error')
    else if (this.#clientClosed && this.#up.flushed) {
      if (targetEnded) this.#stop('ended')
      else this.#linger()
    }
  }

  /**
   * The client left after its EOF, and the target has received that EOF. Closing now would make the kernel answer the
   * target's data with RST and drop what it has not delivered yet, so the target gets a moment to end.
   */
  #linger(): void {
    this.#limit(LINGER_MS, () => 0)
  }

  /** Takes the place of the idle limit when the client is gone. */
  #limit(timeoutMs: number, activity: () => number): void {
    this.#watch?.cancel()
    this.#watch = this.#options.idleMonitor.watch(timeoutMs, activity, this.#onGivenUp)
  }

  /**
   * The one way out. With `reset` both streams are cut: the client is reset with that reason, the target is cancelled.
   */
  #stop(reason: RelayEndReason, reset?: StreamReset): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#watch?.cancel()
    this.#detach()
    if (reset !== undefined) {
      this.#client.reset(reset)
      this.#target.reset('cancel')
      // Data buffered in a paused stream would keep it from closing.
      this.#client.io.resume()
      this.#target.io.resume()
    }
    this.#resolve({ reason, uplinkBytes: this.#up.bytes, downlinkBytes: this.#down.bytes })
  }
}

/**
 * Moves bytes between `client` and `target` until both have ended, one was reset, nothing moved for too long, or the
 * signal fires. Owns both streams: when it resolves, each has ended or was reset. Never rejects; a stream that is
 * already destroyed counts as reset.
 */
export function relayStreams(
  client: StreamEnd,
  target: StreamEnd,
  options: RelayOptions,
): Promise<RelayOutcome> {
  return new Promise((resolve) => new StreamRelay(client, target, options, resolve).start())
}
