/**
 * The relay of a TCP tunnel without a Duplex for its client: what the transport decodes is written to the target's
 * socket, and what the system reads from that socket is handed to the transport in the same call. One object per
 * tunnel; the listeners are shared by all sockets and find it through a property of theirs, since a closure for each
 * would keep more alive than the rest of a relay.
 *
 * Backpressure towards the client is its flow control window: bytes are credited once the target's socket has taken
 * them. They wait in that socket, so what may wait is what the transport lets a client send without credit.
 */
import type { Socket } from 'node:net'
import type { StreamEnd, StreamReset, TcpEnd } from '../contract/stream-end.ts'
import type { TargetReader, TunnelLoss, TunnelReceiver, TunnelStream } from '../contract/tunnel-stream.ts'
import { keptPiece } from '../wire/kept-piece.ts'
import { corkForTurn } from './cork.ts'
import type { TurnEnd } from './cork.ts'
import { RelayRules, type RelayOptions, type RelayOwner } from './relay-rules.ts'

/** A target whose socket was opened for this. */
type DirectTarget = TcpEnd & Required<Pick<TcpEnd, 'readWith'>>

export function canReadDirectly(target: StreamEnd): target is DirectTarget {
  return 'readWith' in target
}

const NOTHING = Buffer.alloc(0)
const RELAY = Symbol('relay')

interface JoinedSocket extends Socket {
  [RELAY]?: DirectRelay | undefined
}

function onDrain(this: JoinedSocket): void {
  this[RELAY]?.onTargetDrain()
}

function onEnd(this: JoinedSocket): void {
  this[RELAY]?.onTargetEnd()
}

function onFinish(this: JoinedSocket): void {
  this[RELAY]?.onTargetFinish()
}

function onClose(this: JoinedSocket): void {
  this[RELAY]?.onTargetClose()
}

export class DirectRelay extends RelayRules implements TunnelReceiver, TargetReader, TurnEnd {
  readonly #client: TunnelStream
  readonly #target: DirectTarget
  protected uplinkBytes = 0
  protected downlinkBytes = 0
  /** Taken from the client and not credited yet. */
  #owedBytes = 0
  #awaitsTaken = false

  constructor(client: TunnelStream, target: DirectTarget, options: RelayOptions, owner: RelayOwner) {
    super(options, owner)
    this.#client = client
    this.#target = target
  }

  start(): void {
    const socket: JoinedSocket = this.#target.io
    if (socket.destroyed) return this.stop('target_reset', 'connect_error')
    this.#attach(socket)
    this.startWatch()
    // Before the client's side begins, which may want it paused.
    if (socket.isPaused()) socket.resume()
    this.#client.start(this)
    if (this.stopped) return
    if (socket.readableEnded) return this.targetEnded()
    this.#target.readWith(this)
  }

  onData(chunk: Buffer): void {
    const socket = this.#target.io
    if (socket.writableEnded || socket.destroyed) {
      // The target has closed, and only waits for the client to take the rest: no further data is asked for.
      this.#owedBytes += chunk.length
      return
    }
    this.uplinkBytes += chunk.length
    this.#owedBytes += chunk.length
    const isCorked = corkForTurn(socket, chunk.length, this)
    socket.write(socket.writableLength > 0 ? keptPiece(chunk) : chunk)
    if (!isCorked) this.onTurnEnd()
  }

  /** What does not wait in the socket has been taken. Whether it is full is another question: it keeps 64 KiB. */
  onTurnEnd(): void {
    if (this.stopped) return
    const socket = this.#target.io
    const taken = this.#owedBytes - socket.writableLength
    if (taken > 0) {
      this.#owedBytes -= taken
      this.#client.credit(taken)
    }
    if (this.#owedBytes > 0) this.#awaitTaken(socket)
  }

  /** A socket that is not full tells nobody when it has written everything. */
  #awaitTaken(socket: Socket): void {
    if (this.#awaitsTaken || socket.writableNeedDrain || socket.writableEnded || socket.destroyed) return
    this.#awaitsTaken = true
    socket.write(NOTHING, () => {
      this.#awaitsTaken = false
      this.onTurnEnd()
    })
  }

  onEnd(): void {
    this.clientEnded()
  }

  onStop(): void {
    this.#target.io.pause()
  }

  onRoom(): void {
    this.#target.io.resume()
  }

  onFlushed(): void {
    this.clientFlushed()
  }

  onLost(how: TunnelLoss): void {
    if (how === 'cancelled') this.stop('aborted', 'cancel')
    else this.clientClosed(how === 'reset')
  }

  onTargetData(from: Buffer, bytes: number): boolean {
    if (this.clientGone || this.stopped) {
      this.discard(bytes)
      return true
    }
    this.downlinkBytes += bytes
    return this.#client.write(from, 0, bytes)
  }

  /** The socket has taken everything that was written to it. */
  onTargetDrain(): void {
    const bytes = this.#owedBytes
    this.#owedBytes = 0
    if (bytes > 0) this.#client.credit(bytes)
  }

  onTargetEnd(): void {
    this.targetEnded()
  }

  onTargetFinish(): void {
    // After `end` there is no 'drain'.
    this.onTargetDrain()
    this.targetFlushed()
  }

  onTargetClose(): void {
    this.targetClosed()
  }

  protected get unsentBytes(): number {
    return this.#client.unsentBytes + this.#target.io.writableLength
  }

  protected get showsLoss(): boolean {
    return this.#client.showsLoss
  }

  protected endTarget(): boolean {
    const socket = this.#target.io
    if (socket.writableFinished) return true
    socket.end()
    return false
  }

  protected endClient(): boolean {
    if (!this.clientGone) this.#client.end()
    return false
  }

  protected drainTarget(): void {
    this.#target.io.resume()
  }

  protected letGo(reset: StreamReset | undefined): void {
    this.#detach(this.#target.io)
    // Whoever resets gives up what was not credited; else what is left will never be taken.
    if (reset === undefined) return this.onTargetDrain()
    this.#client.reset(reset)
    this.#target.reset('cancel')
  }

  #attach(socket: JoinedSocket): void {
    socket[RELAY] = this
    socket.on('drain', onDrain)
    socket.on('end', onEnd)
    socket.on('finish', onFinish)
    socket.on('close', onClose)
  }

  #detach(socket: JoinedSocket): void {
    socket[RELAY] = undefined
    socket.off('drain', onDrain)
    socket.off('end', onEnd)
    socket.off('finish', onFinish)
    socket.off('close', onClose)
  }
}
