/**
 * A connection that is a tunnel, or has been upgraded: every byte on it belongs to the tunnel. Input is handed on in
 * calls, output is copied into a slab, of which one at a time is being written; so many small writes of one turn of the
 * event loop make one record of TLS.
 */
import type { TLSSocket } from 'node:tls'
import type { Duplex } from 'node:stream'
import type { StreamEnd, StreamReset } from '../../contract/stream-end.ts'
import type { TunnelLoss, TunnelReceiver, TunnelStream } from '../../contract/tunnel-stream.ts'
import { RECORD_BYTES, SLAB_HEAD_BYTES, SMALL_SLAB_BYTES } from '../slab-pool.ts'
import type { SlabPool } from '../slab-pool.ts'
import { TunnelDuplex } from './tunnel-duplex.ts'

/** What the client may have sent beyond what its target took. */
const MAX_UNCREDITED_BYTES = 262_144
/** Pieces smaller than this need more memory than their content while they wait, and count for that. */
const SMALL_PIECE_BYTES = 1024
const PIECE_OVERHEAD_BYTES = 512

/** The session's side of it. */
export interface TunnelConnection {
  readonly socket: TLSSocket
  readonly slabs: SlabPool
  /** Takes what has arrived so far. */
  takeInput(): readonly Buffer[]
  /** The client's EOF has arrived. */
  readonly clientEnded: boolean
  /** Ended from our side. */
  readonly cancelled: boolean
  /** TCP RST. */
  resetConnection(): void
}

interface Block {
  readonly slab: Buffer
  readonly bytes: number
}

export class Http1Tunnel implements StreamEnd, TunnelStream {
  readonly showsLoss = false
  readonly #connection: TunnelConnection
  #receiver: TunnelReceiver | undefined
  #duplex: TunnelDuplex | undefined
  #uncredited = 0
  /** What counts for small pieces among them. */
  #overhead = 0
  #slab: Buffer | undefined
  /** Bytes of {@link #slab} that are filled. */
  #filled = 0
  /** Full ones that wait behind the one that is being written. */
  readonly #full: Block[] = []
  /** What fits into the block that was taken last: whole records of TLS. */
  #slabBytes = SMALL_SLAB_BYTES - SLAB_HEAD_BYTES
  unsentBytes = 0
  /** Those of them that the socket has. */
  #leavingBytes = 0
  #scheduled = false
  #wantsRoom = false
  #fast = false
  #ending = false
  #finished = false
  #delivered = false
  /** We have reset it. */
  #gone = false
  #lost = false
  /** Both EOFs had passed before the connection closed. */
  over = false

  constructor(connection: TunnelConnection) {
    this.#connection = connection
  }

  get direct(): TunnelStream {
    return this
  }

  get io(): Duplex {
    if (this.#duplex === undefined) {
      this.#duplex = new TunnelDuplex(this)
      this.start(this.#duplex)
    }
    return this.#duplex
  }

  get wasReset(): boolean {
    return this.#lost && !this.over && !this.#connection.cancelled
  }

  start(receiver: TunnelReceiver): void {
    this.#receiver = receiver
    for (const chunk of this.#connection.takeInput()) this.onData(chunk)
    if (this.#connection.clientEnded) this.onEnd()
    if (this.#lost && !this.over) this.#receiver?.onLost(this.#howLost)
  }

  get #howLost(): TunnelLoss {
    return this.#connection.cancelled ? 'cancelled' : 'reset'
  }

  /** Whether somebody takes what arrives. */
  get started(): boolean {
    return this.#receiver !== undefined
  }

  onData(chunk: Buffer): void {
    this.#uncredited += chunk.length
    if (chunk.length < SMALL_PIECE_BYTES) this.#overhead += PIECE_OVERHEAD_BYTES
    if (this.#holdsTooMuch) this.#connection.socket.pause()
    this.#receiver?.onData(chunk)
  }

  get #holdsTooMuch(): boolean {
    return this.#uncredited + this.#overhead >= MAX_UNCREDITED_BYTES
  }

  onEnd(): void {
    if (this.#delivered || this.#receiver === undefined) return
    this.#delivered = true
    this.#receiver.onEnd()
  }

  credit(bytes: number): void {
    const heldTooMuch = this.#holdsTooMuch
    const left = this.#uncredited - bytes
    // In proportion, since nobody says which pieces have gone.
    this.#overhead = left > 0 ? Math.ceil((this.#overhead * left) / this.#uncredited) : 0
    this.#uncredited = left
    if (heldTooMuch && !this.#holdsTooMuch) this.#connection.socket.resume()
  }

  write(from: Buffer, start: number, end: number): boolean {
    if (this.#lost || this.#ending) return true
    for (let at = start; at < end;) {
      this.#slab ??= this.#connection.slabs.take(this.#fast)
      this.#slabBytes = this.#slab.length - SLAB_HEAD_BYTES
      const bytes = Math.min(end - at, this.#slabBytes - this.#filled)
      from.copy(this.#slab, this.#filled, at, at + bytes)
      this.#filled += bytes
      at += bytes
      if (this.#filled === this.#slabBytes) this.#closeSlab(this.#slab)
    }
    // Four reads of a target fill a large block but for a few bytes; the fifth is not worth to be cut for those.
    if (this.#slab !== undefined && this.#filled > this.#slabBytes - RECORD_BYTES) this.#closeSlab(this.#slab)
    this.unsentBytes += end - start
    // At the end of the turn of the event loop TLS would confirm a full one a turn later.
    if (this.#full.length > 0) this.#flush()
    else if (this.#leavingBytes === 0) this.#schedule()
    this.#wantsRoom = !this.#hasRoom
    return this.#hasRoom
  }

  get #hasRoom(): boolean {
    return this.unsentBytes <= this.#slabBytes - RECORD_BYTES
  }

  #closeSlab(slab: Buffer): void {
    this.#full.push({ slab, bytes: this.#filled })
    this.#slab = undefined
    this.#filled = 0
  }

  /** What is written in one turn leaves together. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(this.#flush)
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    if (this.#leavingBytes > 0 || this.#lost) return
    const full = this.#full.shift()
    // Larger blocks pay for who fills them.
    this.#fast = full !== undefined
    if (full !== undefined) this.#send(full)
    else if (this.#slab !== undefined) {
      const block = { slab: this.#slab, bytes: this.#filled }
      this.#slab = undefined
      this.#filled = 0
      this.#send(block)
    }
  }

  #send({ slab, bytes }: Block): void {
    this.#leavingBytes = bytes
    this.#connection.socket.write(slab.subarray(0, bytes), (error) => this.#onSent(slab, error))
  }

  #onSent(slab: Buffer, error?: Error | null): void {
    const { slabs } = this.#connection
    if (error) return slabs.discard(slab)
    slabs.give(slab)
    this.unsentBytes -= this.#leavingBytes
    this.#leavingBytes = 0
    if (this.#lost) return
    if (this.#full.length > 0) this.#flush()
    else if (this.#filled > 0) this.#schedule()
    else this.#finish()
    this.#makeRoom()
  }

  #makeRoom(): void {
    if (!this.#wantsRoom || !this.#hasRoom) return
    this.#wantsRoom = false
    this.#receiver?.onRoom()
  }

  end(): void {
    this.#ending = true
    if (this.unsentBytes === 0) this.#finish()
  }

  /** Everything has left: our EOF follows. */
  #finish(): void {
    if (!this.#ending || this.#finished || this.#lost) return
    this.#finished = true
    this.#connection.socket.end((error?: Error | null) => {
      if (!error && !this.#lost) this.#receiver?.onFlushed()
    })
  }

  reset(reason: StreamReset): void {
    if (this.#gone) return
    this.#gone = true
    this.#receiver = undefined
    if (reason === 'no_error') this.#connection.socket.destroy()
    else this.#connection.resetConnection()
    this.#duplex?.destroy()
  }

  /** The connection is gone. */
  onClose(): void {
    if (this.#lost) return
    this.over = this.#delivered && this.#connection.socket.writableFinished
    this.#lost = true
    for (const { slab } of this.#full.splice(0)) this.#connection.slabs.give(slab)
    if (this.#slab !== undefined) this.#connection.slabs.give(this.#slab)
    this.#slab = undefined
    if (!this.over) this.#receiver?.onLost(this.#howLost)
  }
}
