/**
 * Places for what anybody may have under way: so many in all, and a share for the addresses of each customer, over all
 * lanes.
 */

interface PlaceLimits {
  readonly total: number
  readonly perAddress: number
}

/** What all lanes have under way (`users/ledger.ts`, `users/address-table.ts`). */
export interface PlaceRecord {
  /** False when all of `limit` places are taken. */
  take(limit: number): boolean
  give(): void
  /** A function that gives the place back, to be called once; undefined when the address has `limit` of them. */
  takeOf(address: string, limit: number): (() => void) | undefined
}

/** Which limit refused. */
type PlaceRefusal = 'total' | 'address'

export class Places {
  readonly #limits: PlaceLimits
  readonly #record: PlaceRecord
  #taken = 0

  constructor(limits: PlaceLimits, record: PlaceRecord) {
    this.#limits = limits
    this.#record = record
  }

  /** By this lane. */
  get taken(): number {
    return this.#taken
  }

  /** A function that gives the place back, to be called once, or why there is none. */
  take(address: string): (() => void) | PlaceRefusal {
    if (!this.#record.take(this.#limits.total)) return 'total'
    const leave = this.#record.takeOf(address, this.#limits.perAddress)
    if (leave === undefined) {
      this.#record.give()
      return 'address'
    }
    this.#taken++
    return () => {
      this.#taken--
      leave()
      this.#record.give()
    }
  }
}
