/** What a lane has in common with others, for tests of single rooms and lanes. */
import type { LaneShare } from '../../src/lane/messages.ts'
import { AddressTable, createAddressTable } from '../../src/users/address-table.ts'
import { Ledger } from '../../src/users/ledger.ts'
import type { LedgerSlot } from '../../src/users/ledger.ts'
import { SlotBook } from '../../src/users/slot-book.ts'
import type { PlaceRecord } from '../../src/web/places.ts'
import type { WebPlace } from '../../src/web/site.ts'

const CONNECTIONS = 16_384

/** The only lane of an endpoint with these users. */
export function loneLane(...users: string[]): LaneShare {
  const ledger = planOf(...users)
  return { lane: 0, lanes: 1, ledger, addresses: createAddressTable(1, CONNECTIONS), isHeir: false }
}

export function planOf(...users: string[]) {
  const book = new SlotBook(1)
  const plan = book.plan(users)
  book.commit(plan)
  return plan
}

/** The same ledger as two lanes see it. */
export function openTwoLanes(...users: string[]): [Ledger, Ledger] {
  const book = new SlotBook(2)
  book.commit(book.plan(users))
  return [new Ledger(book.share, 0), new Ledger(book.share, 1)]
}

/** A ledger in which every name is a user's. */
export class OpenLedger {
  readonly #book = new SlotBook(1)
  readonly #users = new Set<string>()
  readonly #ledger = new Ledger(this.#book.share, 0)
  readonly endpoint = this.#ledger.endpoint

  of(user: string): LedgerSlot {
    if (!this.#users.has(user)) {
      this.#users.add(user)
      const plan = this.#book.plan(this.#users)
      this.#book.commit(plan)
      this.#ledger.adopt(plan)
    }
    return this.#ledger.of(user)
  }
}

/** @param connections how many the table is made for. */
export function openAddresses(connections = CONNECTIONS): AddressTable {
  return new AddressTable(createAddressTable(1, connections), 0)
}

export function openPlaces(what: WebPlace): PlaceRecord {
  const { endpoint } = new OpenLedger()
  const addresses = openAddresses()
  return {
    take: (limit) => endpoint.take(what, limit),
    give: () => endpoint.give(what),
    takeOf: (address, limit) => addresses.hold(address, what, limit, 0),
  }
}
