/**
 * What users hold and have used, over all lanes: a lane's view of the shared memory (`ledger-memory.ts`). Limits are
 * exact: of several lanes that want the last place at the same time one gets it, and none is refused a place that is
 * free. Taking a place locks the user's slot for a few instructions; giving it back and counting lock nothing.
 */
import { ANONYMOUS } from './directory.ts'
import { ANONYMOUS_SLOT, ENDPOINT_SLOT, SlotMemory } from './ledger-memory.ts'
import type { Holding, LedgerShare } from './ledger-memory.ts'
import { lock, unlock } from './shared-lock.ts'

export class Ledger {
  readonly #lane: number
  #share: LedgerShare
  /** By name; created when first asked for. */
  #slots = new Map<string, LedgerSlot>()
  /** What the endpoint holds as a whole. */
  readonly endpoint: LedgerSlot

  constructor(share: LedgerShare, lane: number) {
    this.#share = share
    this.#lane = lane
    this.endpoint = this.#open(ENDPOINT_SLOT)
  }

  /** The slots of another set of users. Whoever has a slot keeps it, also that of a user who is gone. */
  adopt(share: LedgerShare): void {
    this.#share = share
    this.#slots = new Map()
  }

  /** @param user the name of a user in force. */
  of(user: string): LedgerSlot {
    let slot = this.#slots.get(user)
    if (slot === undefined) this.#slots.set(user, (slot = this.#open(this.#numberOf(user))))
    return slot
  }

  #numberOf(user: string): number {
    const number = this.#share.slots.get(user) ?? (user === ANONYMOUS.name ? ANONYMOUS_SLOT : undefined)
    if (number === undefined) throw new Error('a user without a slot in the ledger')
    return number
  }

  #open(slot: number): LedgerSlot {
    return new LedgerSlot(new SlotMemory(this.#share, slot), this.#lane)
  }
}

/** One slot, as seen and changed by one lane. */
export class LedgerSlot {
  readonly #memory: SlotMemory
  readonly #lane: number

  constructor(memory: SlotMemory, lane: number) {
    this.#memory = memory
    this.#lane = lane
  }

  /** Takes one of `limit` places of all lanes together; false when there is none. Each is given back once. */
  take(what: Holding, limit: number): boolean {
    const { cells, lockAt } = this.#memory
    const own = this.#memory.at(this.#lane, what)
    if (limit === Infinity) {
      Atomics.add(cells, own, 1)
      return true
    }
    // While it is locked nobody takes, so the sum can only fall: no place is given twice, and a refusal was right when
    // the lock was taken.
    lock(cells, lockAt, this.#lane)
    const free = this.#memory.total(what) < limit
    if (free) Atomics.add(cells, own, 1)
    unlock(cells, lockAt)
    return free
  }

  give(what: Holding): void {
    Atomics.sub(this.#memory.cells, this.#memory.at(this.#lane, what), 1)
  }

  /** Places that all lanes hold. */
  total(what: Holding): number {
    return this.#memory.total(what)
  }

  /** Says how many this lane holds, without taking them one by one. */
  set(what: Holding, held: number): void {
    Atomics.store(this.#memory.cells, this.#memory.at(this.#lane, what), held)
  }

  addBytes(uplink: number, downlink: number): void {
    this.#memory.addBytes(this.#lane, uplink, downlink)
  }
}
