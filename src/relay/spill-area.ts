/**
 * What the spill buffers of a lane share: an allowance of memory, the disk budget of each user, blocks of memory, and
 * how far the disk is behind.
 */
import type { Counters } from '../counters.ts'
import type { Log } from '../log.ts'
import { SpillBuffer } from './spill.ts'
import type { SpillListener, SpillOverflow, SpillParty, SpillSpace } from './spill.ts'
import { BLOCK_BYTES } from './spill-file.ts'

export interface SpillOptions {
  /** Where files without names are made. Should be on a disk, not in memory. */
  readonly directory: string
  /** In memory, of all streams together. */
  readonly memoryBytes: number
  /** On disk, per key. */
  readonly budgetBytes: number
}

const CONGESTED_BYTES = 4 * 1024 * 1024
const RELIEVED_BYTES = 2 * 1024 * 1024
/** What a user's stream may keep in memory however many there are. */
const MIN_STREAM_BYTES = 64 * 1024
/**
 * How much memory strangers may use, as a part of that of users: enough for a visitor who uploads to a proxied site,
 * since nothing of theirs goes to disk.
 */
const STRANGERS_PART = 1 / 2
/** Blocks kept for the next writer: 8 MiB. */
const SPARE_BLOCKS = 32

export class SpillArea implements SpillSpace {
  readonly directory: string
  readonly #memoryBytes: Readonly<Record<SpillParty, number>>
  readonly #inMemory: Record<SpillParty, number> = { user: 0, stranger: 0 }
  readonly #budgetBytes: number
  readonly #counters: Counters
  readonly #log: Log
  /** Bytes on disk of each key that has any. */
  readonly #used = new Map<string, number>()
  readonly #spare: Buffer[] = []
  #waitingBytes = 0
  #relief: (() => void)[] = []

  constructor(options: SpillOptions, { counters, log }: { counters: Counters; log: Log }) {
    this.directory = options.directory
    this.#memoryBytes = { user: options.memoryBytes, stranger: options.memoryBytes * STRANGERS_PART }
    this.#budgetBytes = options.budgetBytes
    this.#counters = counters
    this.#log = log
  }

  /** More bytes wait for the disk than should: producers had better pause until {@link onRelief}. */
  get congested(): boolean {
    return this.#waitingBytes > CONGESTED_BYTES
  }

  /** Bytes on disk, of all keys. */
  get storedBytes(): number {
    return [...this.#used.values()].reduce((sum, bytes) => sum + bytes, 0)
  }

  /** Calls `run` once, when the area is no longer congested. */
  onRelief(run: () => void): void {
    this.#relief.push(run)
  }

  /** Bytes in memory, of all streams. */
  get memoryBytes(): number {
    return this.#inMemory.user + this.#inMemory.stranger
  }

  /**
   * What one stream may keep in memory: as much as is left for all, so that one has half of it, and of several each
   * the same. A user's stream always has a little.
   */
  allowance(party: SpillParty): number {
    const left = this.#memoryBytes[party] - this.#inMemory[party]
    return Math.max(party === 'user' ? MIN_STREAM_BYTES : 0, left)
  }

  changeMemory(party: SpillParty, bytes: number): void {
    this.#inMemory[party] += bytes
  }

  /** `key` names the budget; it is undefined for as long as nobody has authenticated, and nothing goes to disk then. */
  open(key: () => string | undefined, listener: SpillListener): SpillBuffer {
    return new SpillBuffer(this, key, listener)
  }

  /** Reserves disk space; false when the budget of `key` does not allow it. */
  take(key: string, bytes: number): boolean {
    const used = (this.#used.get(key) ?? 0) + bytes
    if (used > this.#budgetBytes) return false
    this.#used.set(key, used)
    this.#counters.count('spill_bytes', undefined, bytes)
    return true
  }

  give(key: string, bytes: number): void {
    const used = (this.#used.get(key) ?? 0) - bytes
    if (used > 0) this.#used.set(key, used)
    else this.#used.delete(key)
  }

  takeBlock(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
  }

  /** Takes a block back that nobody refers to. */
  giveBlock(block: Buffer): void {
    if (block.length === BLOCK_BYTES && this.#spare.length < SPARE_BLOCKS) this.#spare.push(block)
  }

  changeWaiting(bytes: number): void {
    this.#waitingBytes += bytes
    if (this.#relief.length === 0 || this.#waitingBytes > RELIEVED_BYTES) return
    const relief = this.#relief
    this.#relief = []
    for (const run of relief) run()
  }

  onDiskError(error: unknown): void {
    this.#log.warn({ err: error, directory: this.directory }, 'upload spill failed')
  }

  countOverflow(reason: SpillOverflow): void {
    this.#counters.count('spill_overflows', reason)
  }
}
