/**
 * A buffer between a producer that cannot be stopped and a slow consumer (HTTP/3 uploads: the library reads ahead).
 * Bytes stay in order and go through three stages: memory, up to an allowance that all streams share; then an unlinked
 * file, up to a budget that the streams of one user share; then the stream is given up. Streams of a client that has
 * not authenticated never get to the disk.
 *
 *     write -> [ memory | disk | disk | disk | memory | memory ] -> read
 *               newest                  read ahead
 *
 * Bytes that wait for the disk are memory beyond the allowance. When there are too many of them in all, the area is
 * `congested`, and its user should stop producing for a moment; a single stream with far too many is given up.
 */
import type { TotalLabel } from '../counters.ts'
import { BLOCK_BYTES, SpillFile } from './spill-file.ts'
import type { StoredBlock } from './spill-file.ts'

/** Why a stream was given up. */
export type SpillOverflow = TotalLabel<'spill_overflows'>

/** Whose memory it is: users', or that of clients who have not authenticated. */
export type SpillParty = 'user' | 'stranger'

export interface SpillListener {
  /** `read` has something again. */
  onReadable(): void
  /** The bytes are lost; the buffer is destroyed. */
  onOverflow(reason: SpillOverflow): void
}

/** A buffer's view of the space that all buffers share. */
export interface SpillSpace {
  /** Where files without names are created. */
  readonly directory: string
  /** How many bytes one stream may keep in memory. */
  allowance(party: SpillParty): number
  /** `bytes` more are in memory, or fewer when negative. */
  changeMemory(party: SpillParty, bytes: number): void
  /** `bytes` more wait for the disk, or fewer when negative. */
  changeWaiting(bytes: number): void
  /** Reserves disk space; false when the budget of `key` does not allow it. */
  take(key: string, bytes: number): boolean
  give(key: string, bytes: number): void
  takeBlock(): Buffer
  /** Takes back a block that nobody refers to any more. */
  giveBlock(block: Buffer): void
  onDiskError(error: unknown): void
  countOverflow(reason: SpillOverflow): void
}

/** When more than this waits for the disk in one stream, the disk is not going to keep up. */
const HOPELESS_BYTES = 96 * 1024 * 1024
const WRITES_IN_FLIGHT = 8
const BLOCKS_READ_AHEAD = 2
const FIRST_BLOCK_BYTES = 16 * 1024
/** Largest chunk that `read` returns. */
const READ_BYTES = 64 * 1024

/** A run of at most {@link BLOCK_BYTES}, in order with its neighbours. */
interface Segment {
  /** Set while the bytes from `start` to `end` are in memory. */
  block: Buffer | undefined
  start: number
  end: number
  /** `kept`: back from disk, and not to be stored again. */
  state: 'memory' | 'writing' | 'stored' | 'reading' | 'kept'
  stored: StoredBlock | undefined
  /** Set when `block` is a chunk that was lent; called if the chunk has not been handed on. */
  giveBack: GiveBack | undefined
}

type GiveBack = (chunk: Buffer) => void

export class SpillBuffer {
  readonly #area: SpillSpace
  readonly #key: () => string | undefined
  readonly #listener: SpillListener
  /** Oldest first. */
  #segments: Segment[] = []
  #file: SpillFile | undefined
  #budgetKey: string | undefined
  #inMemory = 0
  /** How much of {@link #inMemory} the area has been told about. */
  #counted = 0
  #party: SpillParty = 'stranger'
  #stored = 0
  #waiting = 0
  #writes = 0
  #reads = 0
  #destroyed = false

  /** See `SpillSpace.open`. */
  constructor(area: SpillSpace, key: () => string | undefined, listener: SpillListener) {
    this.#area = area
    this.#key = key
    this.#listener = listener
  }

  /** Nothing is held, neither in memory nor on disk. */
  get empty(): boolean {
    return this.#segments.length === 0
  }

  /**
   * Takes a copy of `chunk`. A chunk that comes with `giveBack` may be kept instead of copied: then `read` hands it on
   * as it is, or it is given back. If it is copied, it is given back at once.
   */
  write(chunk: Buffer, giveBack?: GiveBack): void {
    if (!this.#destroyed && giveBack !== undefined && this.#hasRoomFor(chunk)) {
      const end = chunk.length
      this.#segments.push({ block: chunk, start: 0, end, state: 'memory', stored: undefined, giveBack })
      this.#inMemory += end
      return this.#settle()
    }
    this.#copy(chunk)
    giveBack?.(chunk)
  }

  #copy(chunk: Buffer): void {
    if (this.#destroyed) return
    for (let from = 0; from < chunk.length;) {
      const tail = this.#tail(chunk.length - from)
      const copied = chunk.copy(tail.block as Buffer, tail.end, from)
      tail.end += copied
      from += copied
    }
    this.#inMemory += chunk.length
    this.#settle()
  }

  /**
   * The next bytes, which belong to the caller; undefined when there are none in memory. In that case, unless the
   * buffer is `empty`, `onReadable` follows.
   */
  read(): Buffer | undefined {
    const head = this.#segments[0]
    if (head === undefined || this.#destroyed) return undefined
    if (head.block === undefined) {
      this.#readAhead()
      return undefined
    }
    const end = head.giveBack === undefined ? Math.min(head.end, head.start + READ_BYTES) : head.end
    // The owner of a lent chunk recognises it by identity, so it is handed on whole.
    const chunk = head.giveBack === undefined ? head.block.subarray(head.start, end) : head.block
    head.start = end
    this.#inMemory -= chunk.length
    if (end === head.end) {
      this.#segments.shift()
      if (this.#stored > 0) this.#readAhead()
    }
    this.#settle()
    return chunk
  }

  /** Forgets everything and closes the file. Idempotent. */
  destroy(): void {
    if (this.#destroyed) return
    this.#destroyed = true
    for (const { block, giveBack } of this.#segments) if (block !== undefined) giveBack?.(block)
    this.#segments = []
    this.#area.changeMemory(this.#party, -this.#counted)
    this.#counted = 0
    this.#release(this.#stored)
    this.#area.changeWaiting(-this.#waiting)
    this.#waiting = 0
    this.#file?.close()
  }

  /** The newest segment if it has room, else a new one of a size that suits what is already held. */
  #tail(wanted: number): Segment {
    const tail = this.#segments.at(-1)
    const isOpen = tail?.state === 'memory' && tail.giveBack === undefined
    if (isOpen && tail.block !== undefined && tail.end < tail.block.length) return tail
    const size = Math.min(BLOCK_BYTES, Math.max(FIRST_BLOCK_BYTES, wanted, this.#inMemory))
    const block = size === BLOCK_BYTES ? this.#area.takeBlock() : Buffer.allocUnsafeSlow(size)
    const segment: Segment = {
      block,
      start: 0,
      end: 0,
      state: 'memory',
      stored: undefined,
      giveBack: undefined,
    }
    this.#segments.push(segment)
    return segment
  }

  /** Sends to disk what is too much for memory: whatever came after the bytes that are already there. */
  #settle(): void {
    this.#account()
    const waiting = Math.max(0, this.#inMemory - this.#area.allowance(this.#party))
    if (waiting > 0 && this.#party === 'stranger') return this.#overflow('stranger')
    if (waiting !== this.#waiting) {
      this.#area.changeWaiting(waiting - this.#waiting)
      this.#waiting = waiting
    }
    if (waiting > HOPELESS_BYTES) return this.#overflow('disk_slow')
    if (waiting === 0 || this.#writes >= WRITES_IN_FLIGHT) return
    for (const segment of this.#candidates(waiting)) {
      if (this.#writes >= WRITES_IN_FLIGHT || !this.#store(segment)) return
    }
  }

  #hasRoomFor(chunk: Buffer): boolean {
    return this.#inMemory + chunk.length <= this.#area.allowance(this.#party)
  }

  /** Tells the area how much is in memory, and whose it is. */
  #account(): void {
    this.#budgetKey ??= this.#key()
    const party = this.#budgetKey === undefined ? 'stranger' : 'user'
    this.#area.changeMemory(this.#party, -this.#counted)
    this.#area.changeMemory(party, this.#inMemory)
    this.#party = party
    this.#counted = this.#inMemory
  }

  /** The newest full segments in memory, about `bytes` together, oldest first; never the one that is read next. */
  #candidates(bytes: number): Segment[] {
    const found: Segment[] = []
    let excess = bytes
    for (let at = this.#segments.length - 2; at > 0 && excess > 0; at--) {
      const segment = this.#segments[at]
      if (segment?.block === undefined) continue
      if (segment.state === 'memory') found.push(segment)
      excess -= segment.end - segment.start
    }
    return found.toReversed()
  }

  #store(segment: Segment): boolean {
    const { start, end } = segment
    if (segment.block === undefined || this.#budgetKey === undefined) return false
    const block = segment.giveBack === undefined ? segment.block : this.#own(segment)
    if (!this.#area.take(this.#budgetKey, end - start)) {
      this.#overflow('budget')
      return false
    }
    this.#stored += end - start
    segment.state = 'writing'
    this.#writes++
    this.#file ??= new SpillFile(this.#area.directory)
    this.#file.write(block.subarray(start, end)).then(
      (stored) => this.#onStored(segment, block, start, stored),
      (error: unknown) => this.#onDiskError(error),
    )
    return true
  }

  /** Copies a lent chunk: otherwise it could be read and given back while the write to disk still uses it. */
  #own(segment: Segment): Buffer {
    const chunk = segment.block as Buffer
    const block = this.#area.takeBlock()
    chunk.copy(block)
    segment.giveBack?.(chunk)
    segment.giveBack = undefined
    segment.block = block
    return block
  }

  #onStored(segment: Segment, block: Buffer, start: number, stored: StoredBlock): void {
    this.#writes--
    if (this.#destroyed) return
    if (segment.start === start) {
      segment.state = 'stored'
      segment.stored = stored
      segment.block = undefined
      this.#inMemory -= stored.bytes
      this.#area.giveBlock(block)
    } else {
      // Some of it has been read from memory in the meantime.
      segment.state = 'kept'
      this.#file?.drop(stored)
      this.#release(stored.bytes)
    }
    this.#settle()
  }

  /** Brings the oldest stored segments back. */
  #readAhead(): void {
    for (const segment of this.#segments.slice(0, BLOCKS_READ_AHEAD)) {
      if (segment.state !== 'stored' || segment.stored === undefined) continue
      if (this.#reads >= BLOCKS_READ_AHEAD) return
      segment.state = 'reading'
      this.#reads++
      this.#file?.take(segment.stored).then(
        (chunk) => this.#onRead(segment, chunk),
        (error: unknown) => this.#onDiskError(error),
      )
    }
  }

  #onRead(segment: Segment, chunk: Buffer): void {
    this.#reads--
    if (this.#destroyed) return
    this.#release(chunk.length)
    segment.state = 'kept'
    segment.block = chunk
    segment.start = 0
    segment.end = chunk.length
    this.#inMemory += chunk.length
    this.#settle()
    if (this.#segments[0] === segment) this.#listener.onReadable()
  }

  /** This many bytes no longer need the disk. */
  #release(bytes: number): void {
    this.#stored -= bytes
    if (this.#budgetKey !== undefined) this.#area.give(this.#budgetKey, bytes)
    if (this.#stored === 0) this.#file?.shrink()
  }

  #onDiskError(error: unknown): void {
    if (this.#destroyed) return
    this.#area.onDiskError(error)
    this.#overflow('disk_failed')
  }

  #overflow(reason: SpillOverflow): void {
    this.destroy()
    this.#area.countOverflow(reason)
    this.#listener.onOverflow(reason)
  }
}
