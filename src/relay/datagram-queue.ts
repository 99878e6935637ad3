/**
 * Datagrams on their way to a client that may read slowly (specification 6.4, 13.2). What arrives in one turn of the
 * event loop goes out together: whole frames, at most `BATCH_BYTES` in one write, so that a DATA frame holds whole
 * datagrams. When the client does not keep up, the newest datagrams are dropped, never part of one.
 */
import type { Writable } from 'node:stream'
import type { UserRoom } from './datagram-room.ts'

/**
 * No DATA frame cuts a write of this size in two: one of HTTP/2 holds 16,384 bytes (RFC 9113 section 4.2), and over
 * HTTP/3 a piece is at most 16,383, so that two bytes hold its length (RFC 9000 section 16). A longer frame is written
 * alone.
 */
export const BATCH_BYTES = 16_383

/** A frame that is encoded only when it is written. */
export interface QueuedDatagram {
  /** Bytes that {@link writeTo} writes. */
  readonly size: number
  writeTo(target: Buffer, offset: number): void
}

/** Which limit dropped a datagram. */
export type QueueDropReason = 'queue_bytes' | 'queue_datagrams' | 'queue_total'

/** What a datagram that waits needs beyond its bytes. */
const OVERHEAD_BYTES = 512

interface DatagramQueueOptions {
  /** Bytes of frames that may wait, beyond what the stream itself buffers. */
  readonly maxBytes: number
  readonly maxDatagrams: number
  /** Shared with other queues of the same user. */
  readonly room?: UserRoom
  readonly onDrop: (reason: QueueDropReason) => void
}

export class DatagramQueue {
  readonly #output: Writable
  readonly #options: DatagramQueueOptions
  #waiting: QueuedDatagram[] = []
  /** How many of `#waiting` have been written. */
  #head = 0
  #bytes = 0
  #state: 'idle' | 'scheduled' | 'blocked' | 'closed' = 'idle'

  /** Listens for `drain` on `output` until it is closed or ended. */
  constructor(output: Writable, options: DatagramQueueOptions) {
    this.#output = output
    this.#options = options
    output.on('drain', this.#onTurn)
  }

  /** Bytes of waiting frames. */
  get bytes(): number {
    return this.#bytes
  }

  /** Number of waiting datagrams. */
  get size(): number {
    return this.#waiting.length - this.#head
  }

  /** Takes a datagram, or drops it; true when it was taken. */
  push(datagram: QueuedDatagram): boolean {
    if (this.#state === 'closed') return false
    const { maxBytes, maxDatagrams, room, onDrop } = this.#options
    if (this.#bytes + datagram.size > maxBytes) {
      onDrop('queue_bytes')
      return false
    }
    if (this.size >= maxDatagrams) {
      onDrop('queue_datagrams')
      return false
    }
    if (room?.take(datagram.size + OVERHEAD_BYTES) === false) {
      onDrop('queue_total')
      return false
    }
    this.#waiting.push(datagram)
    this.#bytes += datagram.size
    if (this.#state === 'idle') {
      this.#state = 'scheduled'
      // Runs after all I/O events of this turn.
      setImmediate(this.#onTurn)
    }
    return true
  }

  /**
   * Writes everything that waits (the limits bound it) without regard to backpressure, and ends the output. Idempotent.
   */
  end(): void {
    if (this.#state === 'closed') return
    while (this.size > 0 && this.#output.writable) this.#writeBatch()
    this.close()
    this.#output.end()
  }

  /** Drops everything that waits. Idempotent. */
  close(): void {
    this.#state = 'closed'
    this.#options.room?.give(this.#bytes + OVERHEAD_BYTES * this.size)
    this.#waiting = []
    this.#head = 0
    this.#bytes = 0
    this.#output.off('drain', this.#onTurn)
  }

  readonly #onTurn = (): void => {
    if (this.#state === 'closed') return
    this.#state = 'idle'
    while (this.size > 0) {
      if (this.#writeBatch()) continue
      this.#state = 'blocked'
      return
    }
  }

  /** Writes the frames at the head that fit into one write. False when the output wants no more. */
  #writeBatch(): boolean {
    const first = this.#head
    let total = 0
    let next = first
    for (; next < this.#waiting.length; next += 1) {
      const size = this.#waiting[next]?.size ?? 0
      if (next > first && total + size > BATCH_BYTES) break
      total += size
    }
    const batch = Buffer.allocUnsafe(total)
    let offset = 0
    for (let index = first; index < next; index += 1) {
      const datagram = this.#waiting[index]
      if (datagram === undefined) continue
      datagram.writeTo(batch, offset)
      offset += datagram.size
    }
    this.#advance(next, total)
    return this.#output.write(batch)
  }

  #advance(next: number, bytes: number): void {
    this.#options.room?.give(bytes + OVERHEAD_BYTES * (next - this.#head))
    this.#bytes -= bytes
    if (next === this.#waiting.length) {
      this.#waiting = []
      this.#head = 0
    } else if (next > 1024) {
      // Releases written datagrams without moving the rest on each write.
      this.#waiting = this.#waiting.slice(next)
      this.#head = 0
    } else {
      this.#head = next
    }
  }
}
