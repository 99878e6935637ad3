/**
 * The shared memory of the ledger: slots in pages of 256, so that users can be added while lanes run. Slot 0 is the
 * endpoint's own, slot 1 belongs to everybody together where there are no credentials. All numbers are little-endian,
 * as the processor has them.
 *
 * ```
 * slot     0  lock (int32)
 *          4  room for flags, tokens of a speed limit, sums of a period
 *         64  lane 0: what it holds, 12 × int32 in the order of HOLDINGS
 *        112          bytes from clients, bytes to clients (2 × int64)
 *        128  lane 1 …
 * ```
 *
 * A lane writes its own 64 bytes only, a cache line. So nothing that several lanes change has to be put right when one
 * of them dies: its holdings are set to zero.
 */

/** What is held, by name; the number is the place among a lane's holdings. */
const HOLDINGS = {
  tcpSessions: 0,
  quicSessions: 1,
  tunnels: 2,
  flows: 3,
  echoes: 4,
  connections: 5,
  handshakes: 6,
  descriptors: 7,
  speedTests: 8,
  decoyRequests: 9,
  proxyRequests: 10,
} as const
export type Holding = keyof typeof HOLDINGS
const HOLDING_COUNT = 12

export const ENDPOINT_SLOT = 0
export const ANONYMOUS_SLOT = 1
/** Slots from here on are given to users. */
export const FIRST_USER_SLOT = 2

export const PAGE_SLOTS = 256
const SHARED_BYTES = 64
const LANE_BYTES = 64
const BYTES_AT = 48

/** Plain data: goes to other threads as it is. */
export interface LedgerShare {
  readonly lanes: number
  readonly pages: readonly SharedArrayBuffer[]
  /** The slot of each user, by name. */
  readonly slots: ReadonlyMap<string, number>
}

export function createPage(lanes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(PAGE_SLOTS * strideOf(lanes))
}

function strideOf(lanes: number): number {
  return SHARED_BYTES + lanes * LANE_BYTES
}

/** One slot, as typed arrays and the places in them. */
export class SlotMemory {
  readonly lanes: number
  readonly cells: Int32Array
  /** Where the lock is in `cells`. */
  readonly lockAt: number
  readonly #bytes: BigInt64Array

  constructor({ lanes, pages }: Pick<LedgerShare, 'lanes' | 'pages'>, slot: number) {
    const page = pages[Math.floor(slot / PAGE_SLOTS)]
    if (page === undefined) throw new RangeError(`slot ${slot} of the ledger does not exist`)
    const stride = strideOf(lanes)
    const start = (slot % PAGE_SLOTS) * stride
    this.lanes = lanes
    this.cells = new Int32Array(page, start, stride / Int32Array.BYTES_PER_ELEMENT)
    this.#bytes = new BigInt64Array(page, start, stride / BigInt64Array.BYTES_PER_ELEMENT)
    this.lockAt = 0
  }

  /** Where in `cells` a lane's holding is. */
  at(lane: number, holding: Holding): number {
    return (SHARED_BYTES + lane * LANE_BYTES) / Int32Array.BYTES_PER_ELEMENT + HOLDINGS[holding]
  }

  /** The sum over all lanes. */
  total(holding: Holding): number {
    let sum = 0
    for (let lane = 0; lane < this.lanes; lane++) sum += Atomics.load(this.cells, this.at(lane, holding))
    return sum
  }

  addBytes(lane: number, uplink: number, downlink: number): void {
    const at = bytesAt(lane)
    Atomics.add(this.#bytes, at, BigInt(uplink))
    Atomics.add(this.#bytes, at + 1, BigInt(downlink))
  }

  /** Bytes of all lanes, also of those that have died. */
  bytes(): { uplink: bigint; downlink: bigint } {
    let [uplink, downlink] = [0n, 0n]
    for (let lane = 0; lane < this.lanes; lane++) {
      uplink += Atomics.load(this.#bytes, bytesAt(lane))
      downlink += Atomics.load(this.#bytes, bytesAt(lane) + 1)
    }
    return { uplink, downlink }
  }

  get isHeld(): boolean {
    for (let lane = 0; lane < this.lanes; lane++)
      for (let place = 0; place < HOLDING_COUNT; place++)
        if (Atomics.load(this.cells, this.at(lane, 'tcpSessions') + place) !== 0) return true
    return false
  }

  /** Sets what `lane` holds to zero. */
  clear(lane: number): void {
    const first = this.at(lane, 'tcpSessions')
    for (let place = 0; place < HOLDING_COUNT; place++) Atomics.store(this.cells, first + place, 0)
  }

  /** For another user. */
  reset(): void {
    for (let cell = 0; cell < this.cells.length; cell++) Atomics.store(this.cells, cell, 0)
  }
}

function bytesAt(lane: number): number {
  return (SHARED_BYTES + lane * LANE_BYTES + BYTES_AT) / BigInt64Array.BYTES_PER_ELEMENT
}
