/**
 * The relay of all streams: `relayStreams`, and the relay between two Duplexes (`direct-relay.ts` has the other one).
 * What ends a relay is in `relay-rules.ts`.
 *
 * Measured over TLS on loopback, node 26.10, CPU-seconds of the process per GiB, four alternating runs of 256 MiB:
 * 'data' with pause/resume 1.3-1.7 down and 1.4-1.9 up; a 'readable' loop 1.4-1.6 and 2.0; pipe 1.65-1.9 and 1.9; two
 * pipelines 1.5-1.75 and 1.8-1.95. Socket buffers above 64 KiB were slower.
 */
import type { Duplex } from 'node:stream'
import type { StreamEnd, StreamReset } from '../contract/stream-end.ts'
import { corkForTurn } from './cork.ts'
import { canReadDirectly, DirectRelay } from './direct-relay.ts'
import { RelayRules, type RelayOptions, type RelayOutcome, type RelayOwner } from './relay-rules.ts'

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
  /** Called for what arrives for a receiver that is gone. */
  readonly onDiscarded: (bytes: number) => void
}

/** Bytes from one end to the other. */
class Direction {
  readonly from: Duplex
  readonly to: Duplex
  bytes = 0
  readonly #options: DirectionOptions
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

  /** Passes EOF on; true when it has left already. */
  end(): boolean {
    if (this.to.writableFinished) return true
    this.to.end()
    return false
  }

  readonly #onData = (chunk: Buffer): void => {
    const to = this.to
    // Node itself ends the writable side of an HTTP/2 stream that its peer resets; 'close' comes later.
    if (to.writableEnded || to.destroyed) return this.#options.onDiscarded(chunk.length)
    this.bytes += chunk.length
    if (this.#options.batch) corkForTurn(to, chunk.length)
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
}

class DuplexRelay extends RelayRules {
  readonly #client: StreamEnd
  readonly #target: StreamEnd
  readonly #signal: AbortSignal
  readonly #up: Direction
  readonly #down: Direction

  constructor(client: StreamEnd, target: StreamEnd, options: RelayOptions, owner: RelayOwner) {
    super(options, owner)
    this.#client = client
    this.#target = target
    this.#signal = options.signal
    this.#up = new Direction(client.io, target.io, {
      recycle: client.recycle?.bind(client),
      batch: true,
      onDiscarded: () => client.io.pause(),
    })
    this.#down = new Direction(target.io, client.io, {
      recycle: target.recycle?.bind(target),
      batch: false,
      onDiscarded: (bytes) => this.discard(bytes),
    })
  }

  start(): void {
    const client = this.#client.io
    const target = this.#target.io
    guardErrors(client)
    guardErrors(target)
    if (this.#signal.aborted) return this.stop('aborted', 'cancel')
    if (target.destroyed) return this.stop('target_reset', 'connect_error')
    if (client.destroyed) return this.stop('client_reset', 'cancel')
    this.#attach()
    this.startWatch()
    if (client.readableEnded) this.#onClientEnd()
    if (target.readableEnded) this.#onTargetEnd()
  }

  protected get uplinkBytes(): number {
    return this.#up.bytes
  }

  protected get downlinkBytes(): number {
    return this.#down.bytes
  }

  protected get unsentBytes(): number {
    return this.#client.io.writableLength + this.#target.io.writableLength
  }

  protected get showsLoss(): boolean {
    return this.#client.showsLoss === true
  }

  protected endTarget(): boolean {
    return this.#up.end()
  }

  protected endClient(): boolean {
    return this.#down.end()
  }

  protected drainTarget(): void {
    this.#target.io.resume()
  }

  protected letGo(reset: StreamReset | undefined): void {
    this.#detach()
    if (reset === undefined) return
    this.#client.reset(reset)
    this.#target.reset('cancel')
    // Data buffered in a paused stream would keep it from closing.
    this.#client.io.resume()
    this.#target.io.resume()
  }

  #attach(): void {
    this.#signal.addEventListener('abort', this.#onAbort)
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
    this.#signal.removeEventListener('abort', this.#onAbort)
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

  readonly #onAbort = (): void => {
    // A transport also aborts when the client's stream closes; the 'close' that is about to come says more.
    const closing = this.#client.io.destroyed && !this.clientGone
    if (!closing) this.stop('aborted', 'cancel')
  }

  readonly #onClientEnd = (): void => this.clientEnded()
  readonly #onTargetEnd = (): void => this.targetEnded()
  readonly #onClientFinish = (): void => this.clientFlushed()
  readonly #onTargetFinish = (): void => this.targetFlushed()
  readonly #onTargetClose = (): void => this.targetClosed()

  /** `Http2Stream.closed` does not help: it is true while there is still data to read. */
  readonly #onClientClose = (): void => {
    const { io, wasReset = io.errored !== null } = this.#client
    this.clientClosed(wasReset)
  }
}

/**
 * Moves bytes between `client` and `target` until both have ended, one was reset, nothing moved for too long, or the
 * tunnel is cancelled; then calls `owner.onEnd`, perhaps before it returns. Owns both ends: by then, each has ended or
 * was reset. A stream that is already destroyed counts as reset. Without a Duplex where both ends can do that.
 */
export function startRelay(
  client: StreamEnd,
  target: StreamEnd,
  options: RelayOptions,
  owner: RelayOwner,
): void {
  const stream = client.direct
  if (stream !== undefined && canReadDirectly(target)) new DirectRelay(stream, target, options, owner).start()
  else new DuplexRelay(client, target, options, owner).start()
}

/** The same as a promise, which never rejects. */
export function relayStreams(
  client: StreamEnd,
  target: StreamEnd,
  options: RelayOptions,
): Promise<RelayOutcome> {
  return new Promise((resolve) => startRelay(client, target, options, { onEnd: resolve }))
}
