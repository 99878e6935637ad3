/**
 * What answers to visitors may hold in memory while their clients do not take it, for a whole lane. Every visitor's
 * address has a share that shrinks as the memory fills: one alone gets half of it, several get equal parts, and a few
 * pieces are always possible, so nobody can keep the site from others by not reading.
 */
import type { Counters } from '../../counters.ts'
import { customerOf } from '../../wire/ip-kind.ts'

/** What an address gets however full it is. */
const MIN_SHARE_BYTES = 131_072
/** Answers of one address that wait for room. */
const MAX_WAITING = 1024
/** Other addresses that are looked at when room becomes free. */
const LOOKS = 4

interface Customer {
  readonly key: string
  heldBytes: number
  /** In the order in which they came. */
  readonly waiting: Set<ContentPlace>
}

export class ContentBudget {
  readonly #counters: Counters
  readonly #maxBytes: number
  readonly #customers = new Map<string, Customer>()
  /** Those with answers that wait; who was looked at last stands last. */
  readonly #waiting = new Set<Customer>()
  #heldBytes = 0

  /** @param maxBytes for all visitors together. */
  constructor(counters: Counters, maxBytes: number) {
    this.#counters = counters
    this.#maxBytes = maxBytes
    counters.gauge('decoy_held_bytes', () => this.#heldBytes)
    counters.gauge('decoy_waiting', () => this.#countWaiting())
  }

  /** A place for one answer to `address`. Its `release` must be called at the end. */
  open(address: string): ContentPlace {
    return new ContentPlace(this, customerOf(address))
  }

  /** @internal */
  take(place: ContentPlace, bytes: number): boolean {
    const customer = this.#customers.get(place.key)
    if (customer !== undefined && customer.waiting.size > 0) return false
    if (!this.#fits(customer?.heldBytes ?? 0, bytes)) return false
    this.#grant(customer ?? this.#add(place.key), bytes)
    return true
  }

  /** @internal False when too many wait. */
  queue(place: ContentPlace): boolean {
    const customer = this.#customers.get(place.key) ?? this.#add(place.key)
    if (customer.waiting.size >= MAX_WAITING) {
      this.#counters.count('decoy_waits', 'refused')
      return false
    }
    this.#counters.count('decoy_waits', 'waited')
    customer.waiting.add(place)
    this.#waiting.add(customer)
    return true
  }

  /** @internal */
  giveBack(place: ContentPlace, bytes: number): void {
    const customer = this.#customers.get(place.key)
    if (customer === undefined) return
    customer.waiting.delete(place)
    customer.heldBytes -= bytes
    this.#heldBytes -= bytes
    this.#serve(customer)
    let looks = LOOKS
    for (const other of this.#waiting) {
      if (looks-- === 0) break
      this.#waiting.delete(other)
      this.#waiting.add(other)
      this.#serve(other)
    }
  }

  #fits(heldBytes: number, bytes: number): boolean {
    return heldBytes + bytes <= Math.max(MIN_SHARE_BYTES, this.#maxBytes - this.#heldBytes)
  }

  #grant(customer: Customer, bytes: number): void {
    customer.heldBytes += bytes
    this.#heldBytes += bytes
  }

  #add(key: string): Customer {
    const customer = { key, heldBytes: 0, waiting: new Set<ContentPlace>() }
    this.#customers.set(key, customer)
    return customer
  }

  #serve(customer: Customer): void {
    for (const place of customer.waiting) {
      if (!this.#fits(customer.heldBytes, place.wantedBytes)) break
      customer.waiting.delete(place)
      this.#grant(customer, place.wantedBytes)
      place.onGranted()
    }
    if (customer.waiting.size > 0) return
    this.#waiting.delete(customer)
    if (customer.heldBytes === 0) this.#customers.delete(customer.key)
  }

  #countWaiting(): number {
    let count = 0
    for (const customer of this.#waiting) count += customer.waiting.size
    return count
  }
}

export class ContentPlace {
  readonly key: string
  /** While it waits. */
  wantedBytes = 0
  readonly #budget: ContentBudget
  #heldBytes = 0
  #onRoom: (() => void) | undefined

  /** @internal */
  constructor(budget: ContentBudget, key: string) {
    this.#budget = budget
    this.key = key
  }

  /** Reserves `bytes` and returns true if there is room now and nobody of this address waits. */
  take(bytes: number): boolean {
    if (!this.#budget.take(this, bytes)) return false
    this.#heldBytes = bytes
    return true
  }

  /** Calls `onRoom` when `bytes` have been reserved. False when too many wait already. */
  queue(bytes: number, onRoom: () => void): boolean {
    this.wantedBytes = bytes
    this.#onRoom = onRoom
    return this.#budget.queue(this)
  }

  /** @internal */
  onGranted(): void {
    this.#heldBytes = this.wantedBytes
    this.#onRoom?.()
  }

  /** Gives back what was reserved, or stops waiting. Idempotent. */
  release(): void {
    const bytes = this.#heldBytes
    this.#heldBytes = 0
    this.#onRoom = undefined
    this.#budget.giveBack(this, bytes)
  }
}
