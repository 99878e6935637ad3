/** The control thread's side of the ledger: which user has which slot, and what becomes of what a dead lane held. */
import { createPage, FIRST_USER_SLOT, PAGE_SLOTS, SlotMemory } from './ledger-memory.ts'
import type { LedgerShare } from './ledger-memory.ts'
import { unlockAfter } from './shared-lock.ts'

export class SlotBook {
  readonly #lanes: number
  readonly #pages: SharedArrayBuffer[] = []
  /** In force. */
  #slots: ReadonlyMap<string, number> = new Map()
  /** Slots of users who are gone; some of their tunnels may still be ending. */
  #leaving = new Map<string, number>()
  #free: number[] = []
  /** The lowest slot that was never given to anybody. */
  #next = FIRST_USER_SLOT

  constructor(lanes: number) {
    this.#lanes = lanes
    this.#pages.push(createPage(lanes))
  }

  /** What lanes are given at their start. */
  get share(): LedgerShare {
    return this.#shareOf(this.#slots)
  }

  /** A slot for each of these users; who has one keeps it. Changes nothing that is in force until {@link commit}. */
  plan(users: Iterable<string>): LedgerShare {
    const slots = new Map<string, number>()
    for (const user of users) slots.set(user, this.#slots.get(user) ?? this.#leaving.get(user) ?? NONE)
    const taken = new Set(slots.values())
    const settled = [...this.#leaving.values()].filter((slot) => !taken.has(slot) && !this.#open(slot).isHeld)
    const reusable = [...this.#free, ...settled]
    let next = this.#next
    for (const [user, slot] of slots) if (slot === NONE) slots.set(user, reusable.pop() ?? next++)
    while (this.#pages.length * PAGE_SLOTS < next) this.#pages.push(createPage(this.#lanes))
    return this.#shareOf(slots)
  }

  /** Puts a plan into force; call it before any lane knows of it. Plans made before another was committed are void. */
  commit({ slots }: LedgerShare): void {
    const known = new Map([...this.#slots, ...this.#leaving])
    const taken = new Set(slots.values())
    for (const [user, slot] of slots) if (known.get(user) !== slot) this.#open(slot).reset()
    this.#leaving = new Map([...known].filter(([user, slot]) => !slots.has(user) && !taken.has(slot)))
    this.#free = this.#free.filter((slot) => !taken.has(slot))
    this.#slots = slots
    for (const slot of taken) this.#next = Math.max(this.#next, slot + 1)
  }

  /** Gives back what a lane held whose thread has ended. Its bytes stay counted. */
  returnLane(lane: number): void {
    for (let slot = 0; slot < this.#next; slot++) {
      const memory = this.#open(slot)
      memory.clear(lane)
      unlockAfter(lane, memory.cells, memory.lockAt)
    }
  }

  #open(slot: number): SlotMemory {
    return new SlotMemory({ lanes: this.#lanes, pages: this.#pages }, slot)
  }

  #shareOf(slots: ReadonlyMap<string, number>): LedgerShare {
    return { lanes: this.#lanes, pages: [...this.#pages], slots }
  }
}

const NONE = -1
