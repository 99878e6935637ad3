/**
 * What the spill buffers of a lane share: an allowance of memory, the disk budget of each user, blocks of memory, and
 * how far behind the disk is.
 */
import type { Counters } from '../counters.ts'
import type { Log } from '../log.ts'
import { SpillBuffer } from './spill.ts'
import type { SpillListener, SpillOverflow, SpillParty, SpillSpace } from './spill.ts'
import { BLOCK_BYTES } from './spill-file.ts'

export interface SpillOptions {
  /** Where files without names are created. Should be on a disk, not in memory. */
  readonly directory: string
  /** Bytes in memory, for all streams together. */
  readonly memoryBytes: number
  /** Bytes on disk, per key. */
  readonly budgetBytes: number
}

const CONGESTED_BYTES = 4 * 1024 * 1024
const RELIEVED_BYTES = 2 * 1024 * 1024
/** What a user's stream may keep in memory however many streams there are. */
const MIN_STREAM_BYTES = 64 * 1024
/**
 * How much memory strangers may use, as a share of what users may: enough for a visitor who uploads to a proxied site,
 * since nothing of a stranger's goes to disk.
 */
const STRANGERS_PART = 1 / 2
/** Blocks kept for later writes: 8 MiB. */
const SPARE_BLOCKS = 32

export class SpillArea implements SpillSpace {
  readonly directory: string
  readonly #memoryBytes: Readonly<Record<SpillParty, number>>
  readonly #inMemory: Record<SpillParty, number> = { user: 0, stranger: 0 }
  readonly #budgetBytes: number
  readonly #counters: Counters
  readonly #log: Log
  /** Bytes on disk, by key. */
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

  /** Too many bytes are waiting for the disk: producers had better pause until {@link onRelief}. */
  get congested(): boolean {
    return this.#waitingBytes > CONGESTED_BYTES
  }

  /** Bytes on disk, for all keys together. */
  get storedBytes(): number {
    return [...this.#used.values()].reduce((sum, bytes) => sum + bytes, 0)
  }

  /** Calls `run` once, when the area is no longer congested. */
  onRelief(run: () => void): void {
    this.#relief.push(run)
  }

  /** Bytes in memory, for all streams together. */
  get memoryBytes(): number {
    return this.#inMemory.user + this.#inMemory.stranger
  }

  /**
   * How much one stream may keep in memory: as much as is left for all, so that a single stream gets half of the total,
   * and several get equal shares. A user's stream always gets a little.
   */
  allowance(party: SpillParty): number {
    const left = this.#memoryBytes[party] - this.#inMemory[party]
    return Math.max(party === 'user' ? MIN_STREAM_BYTES : 0, left)
  }

  changeMemory(party: SpillParty, bytes: number): void {
    this.#inMemory[party] += bytes
  }

  /** `key` names the budget; it is undefined as long as nobody has authenticated, and then nothing goes to disk. */
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

  /** Takes back a block that nobody refers to any more. */
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
