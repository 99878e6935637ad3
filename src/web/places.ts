/** Places for what anybody may have under way: so many in all, and a share for the addresses of each customer. */
import { customerOf } from '../wire/ip-kind.ts'

interface PlaceLimits {
  readonly total: number
  readonly perAddress: number
}

/** Which limit refused. */
type PlaceRefusal = 'total' | 'address'

export class Places {
  readonly #limits: PlaceLimits
  readonly #held = new Map<string, number>()
  #taken = 0

  constructor(limits: PlaceLimits) {
    this.#limits = limits
  }

  get taken(): number {
    return this.#taken
  }

  /** A function that gives the place back, to be called once, or why there is none. */
  take(address: string): (() => void) | PlaceRefusal {
    const customer = customerOf(address)
    const held = this.#held.get(customer) ?? 0
    if (this.#taken >= this.#limits.total) return 'total'
    if (held >= this.#limits.perAddress) return 'address'
    this.#taken++
    this.#held.set(customer, held + 1)
    return () => this.#leave(customer)
  }

  #leave(customer: string): void {
    this.#taken--
    const left = (this.#held.get(customer) ?? 1) - 1
    if (left === 0) this.#held.delete(customer)
    else this.#held.set(customer, left)
  }
}
