/**
 * What each client address has open, and how fast it may go on, over all lanes: a hash table of fixed size in shared
 * memory. An address has one place to be, a bucket of 16 entries; the hash is salted, so that nobody can choose
 * addresses for one bucket. When a new address finds its bucket full, the entry that was unused longest and has
 * nothing open is forgotten; where all have something open, the new one is refused (`full`).
 *
 * ```
 * entry    0  what kind of address: 0 none, 4 IPv4, 6 the /64 of an IPv6 address, 1 the hash of something else (int32)
 *          4  the address (2 × int32)
 *         16  connection tokens, when they were counted (2 × float64)
 *         32  failure tokens, when they were counted (2 × float64)
 *         48  lane 0: what the address has, 8 × int32 in the order of KINDS, lane 1 …
 * ```
 *
 * A bucket is locked while an entry is looked for and changed, for less than a microsecond. Giving back locks nothing:
 * an entry with connections stays where it is.
 */
import { randomBytes } from 'node:crypto'
import { customerBytes } from '../wire/ip-kind.ts'
import { lock, unlock, unlockAfter } from './shared-lock.ts'

/** Plain data: goes to other threads as it is. */
export interface AddressTableShare {
  readonly lanes: number
  readonly buckets: number
  readonly salt: readonly [number, number]
  readonly entries: SharedArrayBuffer
  readonly locks: SharedArrayBuffer
}

interface AddressLimits {
  readonly connections: number
  readonly handshakes: number
  readonly bucket: TokenBucket
}

/** Tokens come back one by one, up to `size`. */
interface TokenBucket {
  readonly size: number
  readonly refillMs: number
}

type AddressRefusal = 'connections' | 'handshakes' | 'tokens' | 'full'

const BUCKET_ENTRIES = 16
/** Entries for each connection that may be open: then a bucket is never full of connections, but for a freak chance. */
const ENTRIES_PER_CONNECTION = 4
const MIN_BUCKETS = 64

const LANES_AT = 48
const LANE_BYTES = 32
/** What an address has open; the number is the place among those of a lane. */
const KINDS = { connections: 0, handshakes: 1, speedTests: 2, decoyRequests: 3, proxyRequests: 4 } as const
type Kind = keyof typeof KINDS
const LANE_CELLS = 8
const KIND = 0
const HIGH = 1
const LOW = 2
const CONNECTION_TOKENS = 4
const FAILURE_TOKENS = 8
const LANES = LANES_AT / 4

/** @param connections how many may be open in all. */
export function createAddressTable(lanes: number, connections: number): AddressTableShare {
  const wanted = Math.max(MIN_BUCKETS, (connections * ENTRIES_PER_CONNECTION) / BUCKET_ENTRIES)
  const buckets = 2 ** Math.ceil(Math.log2(wanted))
  const salt = randomBytes(8)
  return {
    lanes,
    buckets,
    salt: [salt.readInt32LE(0), salt.readInt32LE(4)],
    entries: new SharedArrayBuffer(buckets * BUCKET_ENTRIES * strideOf(lanes)),
    locks: new SharedArrayBuffer(buckets * Int32Array.BYTES_PER_ELEMENT),
  }
}

function strideOf(lanes: number): number {
  return LANES_AT + lanes * LANE_BYTES
}

/** For the control thread: gives back what a lane held whose thread has ended. */
export function returnAddresses(share: AddressTableShare, lane: number): void {
  const cells = new Int32Array(share.entries)
  const locks = new Int32Array(share.locks)
  const stride = strideOf(share.lanes) / Int32Array.BYTES_PER_ELEMENT
  for (let own = LANES + LANE_CELLS * lane; own < cells.length; own += stride)
    for (const kind of Object.values(KINDS))
      // Reading leaves pages untouched that nobody has used.
      if (Atomics.load(cells, own + kind) !== 0) Atomics.store(cells, own + kind, 0)
  for (let bucket = 0; bucket < locks.length; bucket++) unlockAfter(lane, locks, bucket)
}

export class AddressTable {
  readonly #share: AddressTableShare
  readonly #lane: number
  readonly #cells: Int32Array
  readonly #numbers: Float64Array
  readonly #locks: Int32Array
  /** Of one entry, in cells. */
  readonly #stride: number

  constructor(share: AddressTableShare, lane: number) {
    this.#share = share
    this.#lane = lane
    this.#cells = new Int32Array(share.entries)
    this.#numbers = new Float64Array(share.entries)
    this.#locks = new Int32Array(share.locks)
    this.#stride = strideOf(share.lanes) / Int32Array.BYTES_PER_ELEMENT
  }

  /** Counts a connection, in its handshake, and takes a token; or says which limit is reached, and changes nothing. */
  connect(address: string, limits: AddressLimits, nowMs: number): AddressHold | AddressRefusal {
    const key = this.#keyOf(address)
    lock(this.#locks, key.bucket, this.#lane)
    const found = this.#connect(key, limits, nowMs)
    unlock(this.#locks, key.bucket)
    return typeof found === 'string' ? found : new AddressHold(this.#cells, this.#own(found))
  }

  /**
   * Takes one of `limit` places of the address; undefined when it has them all, or there is no room to count it.
   * @returns a function that gives the place back; call it once.
   */
  hold(
    address: string,
    kind: Exclude<Kind, 'connections' | 'handshakes'>,
    limit: number,
    nowMs: number,
  ): (() => void) | undefined {
    const key = this.#keyOf(address)
    lock(this.#locks, key.bucket, this.#lane)
    const entry = this.#find(key) ?? this.#claim(key, nowMs)
    const isFree = entry !== undefined && this.#sum(entry, kind) < limit
    const at = this.#own(entry ?? 0) + KINDS[kind]
    if (isFree) Atomics.add(this.#cells, at, 1)
    unlock(this.#locks, key.bucket)
    return isFree ? () => void Atomics.sub(this.#cells, at, 1) : undefined
  }

  /** Takes a failure's token, down to `floor`; returns how many are left. */
  fail(address: string, bucket: TokenBucket & { readonly floor: number }, nowMs: number): number {
    const key = this.#keyOf(address)
    lock(this.#locks, key.bucket, this.#lane)
    const entry = this.#find(key) ?? this.#claim(key, nowMs)
    // Where every entry has connections, the failure is not remembered.
    let left = bucket.size - 1
    if (entry !== undefined) {
      left = Math.max(this.#refill(entry + FAILURE_TOKENS, bucket, nowMs) - 1, bucket.floor)
      this.#numbers[(entry + FAILURE_TOKENS) >> 1] = left
    }
    unlock(this.#locks, key.bucket)
    return left
  }

  #connect(
    key: Key,
    { connections, handshakes, bucket }: AddressLimits,
    nowMs: number,
  ): number | AddressRefusal {
    const entry = this.#find(key) ?? this.#claim(key, nowMs)
    if (entry === undefined) return 'full'
    const tokens = this.#refill(entry + CONNECTION_TOKENS, bucket, nowMs)
    if (this.#sum(entry, 'connections') >= connections) return 'connections'
    if (this.#sum(entry, 'handshakes') >= handshakes) return 'handshakes'
    if (tokens < 1) return 'tokens'
    this.#numbers[(entry + CONNECTION_TOKENS) >> 1] = tokens - 1
    Atomics.add(this.#cells, this.#own(entry) + KINDS.connections, 1)
    Atomics.add(this.#cells, this.#own(entry) + KINDS.handshakes, 1)
    return entry
  }

  /** Brings tokens up to date and returns them. */
  #refill(at: number, { size, refillMs }: TokenBucket, nowMs: number): number {
    const [tokensAt, timeAt] = [at >> 1, (at >> 1) + 1]
    const countedAt = this.#numbers[timeAt] ?? 0
    const earned = (nowMs - countedAt) / refillMs
    const tokens = Math.min(size, (this.#numbers[tokensAt] ?? 0) + earned)
    this.#numbers[tokensAt] = tokens
    this.#numbers[timeAt] = nowMs
    return tokens
  }

  /** Where in an entry this lane's cells begin. */
  #own(entry: number): number {
    return entry + LANES + LANE_CELLS * this.#lane
  }

  /** Of all lanes. */
  #sum(entry: number, kind: Kind): number {
    let sum = 0
    for (let lane = 0; lane < this.#share.lanes; lane++)
      sum += Atomics.load(this.#cells, entry + LANES + LANE_CELLS * lane + KINDS[kind])
    return sum
  }

  #isHeld(entry: number): boolean {
    for (let at = entry + LANES; at < entry + this.#stride; at++)
      if (Atomics.load(this.#cells, at) !== 0) return true
    return false
  }

  #find({ kind, high, low, bucket }: Key): number | undefined {
    const cells = this.#cells
    for (let at = bucket * BUCKET_ENTRIES, end = at + BUCKET_ENTRIES; at < end; at++) {
      const entry = at * this.#stride
      if (cells[entry + KIND] === kind && cells[entry + HIGH] === high && cells[entry + LOW] === low)
        return entry
    }
    return undefined
  }

  /** A free entry, or that of the address which was unused longest; undefined when all have connections. */
  #claim(key: Key, nowMs: number): number | undefined {
    let [best, bestUsedMs] = [undefined as number | undefined, Infinity]
    for (let at = key.bucket * BUCKET_ENTRIES, end = at + BUCKET_ENTRIES; at < end; at++) {
      const entry = at * this.#stride
      const usedMs = this.#lastUsed(entry)
      if (usedMs < bestUsedMs && !this.#isHeld(entry)) [best, bestUsedMs] = [entry, usedMs]
    }
    if (best !== undefined) this.#write(best, key, nowMs)
    return best
  }

  #lastUsed(entry: number): number {
    if (this.#cells[entry + KIND] === 0) return -Infinity
    const connectedMs = this.#numbers[((entry + CONNECTION_TOKENS) >> 1) + 1] ?? 0
    const failedMs = this.#numbers[((entry + FAILURE_TOKENS) >> 1) + 1] ?? 0
    return Math.max(connectedMs, failedMs)
  }

  /** In an order in which a thread that dies in between leaves nothing wrong behind. */
  #write(entry: number, { kind, high, low }: Key, nowMs: number): void {
    const cells = this.#cells
    Atomics.store(cells, entry + KIND, 0)
    cells[entry + HIGH] = high
    cells[entry + LOW] = low
    for (const at of [entry + CONNECTION_TOKENS, entry + FAILURE_TOKENS]) {
      // As many as there may be.
      this.#numbers[at >> 1] = Infinity
      this.#numbers[(at >> 1) + 1] = nowMs
    }
    Atomics.store(cells, entry + KIND, kind)
  }

  #keyOf(address: string): Key {
    const bytes = customerBytes(address)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const [kind, high, low] =
      bytes.length === 8
        ? ([6, view.getInt32(0), view.getInt32(4)] as const)
        : bytes.length === 4
          ? ([4, 0, view.getInt32(0)] as const)
          : ([1, textHash(address, 1), textHash(address, 2)] as const)
    return { kind, high, low, bucket: this.#bucketOf(kind, high, low) }
  }

  #bucketOf(kind: number, high: number, low: number): number {
    const [first, second] = this.#share.salt
    const mixed = mix(mix(high ^ first) ^ low ^ second) + kind
    return mix(mixed ^ first) & (this.#share.buckets - 1)
  }
}

interface Key {
  readonly kind: 1 | 4 | 6
  readonly high: number
  readonly low: number
  readonly bucket: number
}

/** The place of one connection, in its handshake until {@link handshakeDone}. Each method is called at most once. */
class AddressHold {
  readonly #cells: Int32Array
  readonly #at: number

  constructor(cells: Int32Array, at: number) {
    this.#cells = cells
    this.#at = at
  }

  handshakeDone(): void {
    Atomics.sub(this.#cells, this.#at + 1, 1)
  }

  /** After {@link handshakeDone}. */
  release(): void {
    Atomics.sub(this.#cells, this.#at, 1)
  }
}

/** Spreads all bits (the finalizer of MurmurHash3). */
function mix(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

function textHash(text: string, seed: number): number {
  let hash = seed
  for (let at = 0; at < text.length; at++) hash = mix(hash ^ text.charCodeAt(at))
  return hash
}
