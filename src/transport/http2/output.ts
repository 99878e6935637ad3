/**
 * What a session sends, in the order in which it leaves. DATA is copied once, with its frame head, into a block that TLS
 * writes as one; one write is under way at a time, and what comes meanwhile fills the next block. Frames that must not
 * wait behind DATA (acknowledgements, windows, heads of answers) are put in front of the next block.
 *
 * When as much waits as one block holds, streams are told to stop, and go on in the order in which they stopped, as many
 * as fill the next block, each for its part of it: so their shares are equal, none waits for more than it must, and none
 * is read that would find the block full.
 */
import type { Writable } from 'node:stream'
import { DEFAULT_FRAME_BYTES, FRAME_HEAD_BYTES, Flag, FrameType } from '../../wire/http2/protocol.ts'
import { writeFrameHead } from '../../wire/http2/frame-writer.ts'
import { LARGE_SLAB_BYTES, RECORD_BYTES, SLAB_HEAD_BYTES, SMALL_SLAB_BYTES } from '../slab-pool.ts'
import type { SlabPool } from '../slab-pool.ts'

const FIRST_URGENT_BYTES = 256
/** A client that makes us answer more than this and does not read the answers is cut off. */
const MAX_URGENT_BYTES = 262_144
/** A write may be this long although the output is full. */
const SMALL_WRITE_BYTES = DEFAULT_FRAME_BYTES
/** How much may be put in in this way. */
const MAX_QUEUED_BYTES = 2 * LARGE_SLAB_BYTES
/** How much of it streams may take in their turns: the rest is for small writes, which would else wait behind them. */
const MAX_QUEUED_IN_TURNS_BYTES = MAX_QUEUED_BYTES - 4 * SMALL_WRITE_BYTES
/** Payload that fills one record of TLS together with its frame head. */
export const RECORD_PAYLOAD_BYTES = RECORD_BYTES - FRAME_HEAD_BYTES
/** After so many short writes in a row a session gets small blocks again. */
const SHORT_WRITES = 8
/** What a stream sends in one turn: a read of its target's socket fills four records. */
const TURN_RECORDS = 4
export const TURN_BYTES = TURN_RECORDS * RECORD_PAYLOAD_BYTES

/** A stream that was told to stop. */
interface Waiting {
  /** @param turnBytes what it may send before it waits again, where others wait too. */
  onRoom(turnBytes: number): void
}

interface Block {
  readonly slab: Buffer
  readonly end: number
}

interface OutputEvents {
  /** More waits in front of the line than a client may leave unread. */
  onOverflow(): void
}

export class Output {
  /** Bytes that TLS has written. */
  sentBytes = 0
  /** Payload of a DATA frame, at most; a whole datagram may have more. */
  frameBytes: number
  /** A slow client holds a large block for so long that it seems to take nothing: not for strangers. */
  mayUseLargeBlocks = false
  readonly #socket: Writable
  readonly #pool: SlabPool
  readonly #events: OutputEvents
  /** Being filled, from {@link SLAB_HEAD_BYTES} on. */
  #slab: Buffer | undefined
  #end = SLAB_HEAD_BYTES
  /** Filled, oldest first. */
  #blocks: Block[] = []
  #urgent: Buffer | undefined
  #urgentEnd = 0
  #inFlight: Buffer | undefined
  #inFlightBytes = 0
  #writingBytes = 0
  /** Payload and heads that have been put in, except urgent ones, and are not written. */
  #queuedBytes = 0
  #waiting: Waiting[] = []
  /** How many were told to go on last. */
  #sharers = 0
  #scheduled = false
  /** Writes of less than a record since the last that was longer. */
  #shortWrites = SHORT_WRITES
  /** Where in the block the last DATA frame begins, and whose it is. */
  #lastDataAt = 0
  #lastDataStream = 0
  #onEmpty: (() => void) | undefined
  #closed = false

  constructor(socket: Writable, pool: SlabPool, frameBytes: number, events: OutputEvents) {
    this.#socket = socket
    this.#pool = pool
    this.frameBytes = frameBytes
    this.#events = events
  }

  /** As much waits as may. */
  get isFull(): boolean {
    return this.#roomBytes <= 0
  }

  /** What fits until only the last record of a block is left. */
  get #roomBytes(): number {
    const slabBytes = this.#isFast ? LARGE_SLAB_BYTES : SMALL_SLAB_BYTES
    return slabBytes - SLAB_HEAD_BYTES - RECORD_BYTES - this.#queuedBytes
  }

  /**
   * Whether a stream may put in `bytes` now. What it has read in its turn is taken although others were quicker: to keep
   * it elsewhere costs more.
   */
  accepts(bytes: number, turnBytes: number): boolean {
    if (!this.isFull) return true
    if (this.isOverfull) return false
    if (bytes <= SMALL_WRITE_BYTES) return true
    return turnBytes > 0 && this.#isFast && this.#queuedBytes + bytes <= MAX_QUEUED_IN_TURNS_BYTES
  }

  /** Whether a stream that has so much left of its turn may send more now: one that has had it lets others go first. */
  mayGoOn(turnBytes: number): boolean {
    if (this.isFull) return false
    return turnBytes > 0 || (this.#sharers <= 1 && this.#waiting.length === 0)
  }

  /** The session empties what it is given: larger blocks pay off. */
  get #isFast(): boolean {
    return this.mayUseLargeBlocks && this.#shortWrites < SHORT_WRITES
  }

  get isEmpty(): boolean {
    return this.#queuedBytes === 0 && this.#urgentEnd === 0 && this.#inFlight === undefined
  }

  /** Not even a little may be added. */
  get isOverfull(): boolean {
    return this.#queuedBytes >= (this.#pool.isScarce ? SMALL_SLAB_BYTES : MAX_QUEUED_BYTES)
  }

  /** Bytes that wait, whatever their kind. */
  get unsentBytes(): number {
    return this.#queuedBytes + this.#urgentEnd
  }

  /** `stream.onRoom` is called once, when it may send about one read of a socket. */
  wait(stream: Waiting): void {
    if (!this.#closed) this.#waiting.push(stream)
  }

  /** Calls back, once, when nothing is left to send. */
  whenEmpty(onEmpty: () => void): void {
    if (this.isEmpty) onEmpty()
    else this.#onEmpty = onEmpty
  }

  /** The caller writes a frame of `bytes` that goes before all DATA that waits. */
  urgent(bytes: number, write: (into: Buffer, at: number) => void): void {
    const at = this.#reserveUrgent(bytes)
    if (this.#urgent !== undefined) write(this.#urgent, at)
  }

  /** The same for a frame that keeps its place behind what was put in before it. */
  inOrder(bytes: number, write: (into: Buffer, at: number) => void): void {
    const at = this.#reserve(bytes)
    if (this.#slab !== undefined) write(this.#slab, at)
  }

  /** The same for a frame that comes after all DATA that waits, and otherwise is urgent. */
  last(bytes: number, write: (into: Buffer, at: number) => void): void {
    if (this.#slab === undefined && this.#blocks.length === 0) this.urgent(bytes, write)
    else this.inOrder(bytes, write)
  }

  /** `from[start..end)` in frames of at most `frameBytes` payload each. */
  data(streamId: number, from: Buffer, start: number, end: number, frameBytes = this.frameBytes): void {
    for (let next = start; next < end;) {
      const length = Math.min(end - next, frameBytes)
      const at = this.#reserve(FRAME_HEAD_BYTES + length)
      const slab = this.#slab
      if (slab === undefined) return
      writeFrameHead(slab, at, length, FrameType.DATA, 0, streamId)
      from.copy(slab, at + FRAME_HEAD_BYTES, next, next + length)
      this.#lastDataAt = at
      this.#lastDataStream = streamId
      next += length
    }
    // At the end of the turn of the event loop TLS would confirm it a turn later.
    if (this.#isBlockFull && this.#inFlight === undefined) this.#writeNext()
  }

  get #isBlockFull(): boolean {
    if (!this.#isFast) return false
    return (
      this.#blocks.length > 0 || (this.#slab !== undefined && this.#end + RECORD_BYTES > this.#slab.length)
    )
  }

  /** END_STREAM, on the last DATA frame if that is the stream's and still here. */
  endStream(streamId: number): void {
    const slab = this.#slab
    if (slab !== undefined && this.#lastDataStream === streamId) {
      slab[this.#lastDataAt + 4] = Flag.END_STREAM
      this.#lastDataStream = 0
      return
    }
    this.inOrder(FRAME_HEAD_BYTES, (into, at) =>
      writeFrameHead(into, at, 0, FrameType.DATA, Flag.END_STREAM, streamId),
    )
  }

  /** Nothing is sent any more. Idempotent. */
  close(): void {
    this.#closed = true
    if (this.#slab !== undefined) this.#pool.give(this.#slab)
    for (const { slab } of this.#blocks) this.#pool.give(slab)
    this.#slab = undefined
    this.#blocks = []
    this.#urgent = undefined
    this.#waiting = []
    this.#queuedBytes = 0
    this.#urgentEnd = 0
    this.#onEmpty = undefined
  }

  #reserve(bytes: number): number {
    if (this.#closed) return 0
    if (this.#queuedBytes > MAX_QUEUED_BYTES + MAX_URGENT_BYTES) {
      this.#events.onOverflow()
      return 0
    }
    if (this.#slab !== undefined && this.#end + bytes > this.#slab.length) this.#finishBlock(this.#slab)
    this.#slab ??= this.#pool.take(this.#isFast)
    const at = this.#end
    this.#end += bytes
    this.#queuedBytes += bytes
    this.#schedule()
    return at
  }

  #finishBlock(slab: Buffer): void {
    this.#blocks.push({ slab, end: this.#end })
    this.#slab = undefined
    this.#end = SLAB_HEAD_BYTES
    this.#lastDataStream = 0
  }

  #reserveUrgent(bytes: number): number {
    if (this.#closed) return 0
    const at = this.#urgentEnd
    const needed = at + bytes
    if (needed > MAX_URGENT_BYTES) {
      this.#events.onOverflow()
      return 0
    }
    const old = this.#urgent
    if (old === undefined || needed > old.length) {
      this.#urgent = Buffer.allocUnsafe(Math.max(2 * at, needed, FIRST_URGENT_BYTES))
      old?.copy(this.#urgent, 0, 0, at)
    }
    this.#urgentEnd = needed
    this.#schedule()
    return at
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(flush, this)
  }

  /** Called at the end of the turn. */
  flush(): void {
    this.#scheduled = false
    if (this.#inFlight !== undefined) return
    this.#writeNext()
    if (this.isEmpty) this.#resumeWaiting()
  }

  #writeNext(): void {
    if (this.#closed) return
    const block = this.#nextBlock()
    if (block !== undefined) this.#writeBlock(block)
    else if (this.#urgentEnd > 0) this.#writeUrgent()
  }

  #nextBlock(): Block | undefined {
    if (this.#urgentEnd > SLAB_HEAD_BYTES) return undefined
    if (this.#blocks.length === 0 && this.#slab !== undefined) this.#finishBlock(this.#slab)
    return this.#blocks.shift()
  }

  #writeBlock({ slab, end }: Block): void {
    const start = SLAB_HEAD_BYTES - this.#urgentEnd
    this.#urgent?.copy(slab, start, 0, this.#urgentEnd)
    this.#urgentEnd = 0
    this.#urgent = undefined
    this.#inFlight = slab
    this.#inFlightBytes = end - SLAB_HEAD_BYTES
    this.#write(slab.subarray(start, end))
  }

  #writeUrgent(): void {
    const frames = this.#urgent
    if (frames === undefined) return
    this.#inFlight = frames
    this.#inFlightBytes = 0
    const bytes = this.#urgentEnd
    this.#urgent = undefined
    this.#urgentEnd = 0
    this.#write(frames.subarray(0, bytes))
  }

  #write(bytes: Buffer): void {
    this.#writingBytes = bytes.length
    this.#socket.write(bytes, this.#onWritten)
  }

  readonly #onWritten = (error?: Error | null): void => {
    const slab = this.#inFlight
    this.#inFlight = undefined
    // Without payload it was not from the pool.
    if (slab !== undefined && this.#inFlightBytes > 0) {
      // After a failure somebody may still be looking at it.
      if (error) this.#pool.discard(slab)
      else this.#pool.give(slab)
    }
    if (error || this.#closed) return
    this.sentBytes += this.#writingBytes
    this.#shortWrites = this.#inFlightBytes >= RECORD_BYTES ? 0 : this.#shortWrites + 1
    this.#queuedBytes -= this.#inFlightBytes
    this.#writeNext()
    this.#resumeWaiting()
    if (this.#onEmpty !== undefined && this.isEmpty) this.#tellEmpty()
  }

  #tellEmpty(): void {
    const onEmpty = this.#onEmpty
    this.#onEmpty = undefined
    onEmpty?.()
  }

  #resumeWaiting(): void {
    const room = this.#roomBytes
    // Those who go on now are to find the next block empty, since one that is full costs least.
    if (this.#waiting.length === 0 || room <= 0 || this.#queuedBytes > RECORD_BYTES) return
    const turns = Math.ceil(room / (TURN_RECORDS * RECORD_BYTES))
    // Those that stop again while this runs come behind the others.
    const streams = this.#waiting.splice(0, turns)
    this.#sharers = streams.length
    const turnBytes = TURN_BYTES * Math.floor(turns / streams.length)
    for (const stream of streams) stream.onRoom(turnBytes)
    // If none of them has anything to send now, there is no write after which the others would be told.
    if (this.#waiting.length > 0 && this.isEmpty) this.#schedule()
  }
}

function flush(output: Output): void {
  output.flush()
}
