/** Limits on UDP flows: in all, and per user (each flow needs a descriptor). */

interface UdpBudgetOptions {
  readonly maxFlows: number
  readonly maxFlowsPerUser: number
}

export class UdpBudget {
  readonly #options: UdpBudgetOptions
  readonly #perUser = new Map<string, number>()
  #total = 0

  constructor(options: UdpBudgetOptions) {
    this.#options = options
  }

  /** Whether this user may open no further flow. */
  isFull(user: string): boolean {
    const { maxFlows, maxFlowsPerUser } = this.#options
    return this.#total >= maxFlows || (this.#perUser.get(user) ?? 0) >= maxFlowsPerUser
  }

  take(user: string): void {
    this.#total += 1
    this.#perUser.set(user, (this.#perUser.get(user) ?? 0) + 1)
  }

  release(user: string): void {
    this.#total -= 1
    const left = (this.#perUser.get(user) ?? 1) - 1
    if (left > 0) this.#perUser.set(user, left)
    else this.#perUser.delete(user)
  }
}
