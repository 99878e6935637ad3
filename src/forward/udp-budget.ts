/** How many UDP flows there may be: in all, and of one user (each costs a descriptor). */

export interface UdpBudgetOptions {
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

  /** Counts one flow in, unless a limit is met. */
  take(user: string): boolean {
    const used = this.#perUser.get(user) ?? 0
    if (this.#total >= this.#options.maxFlows || used >= this.#options.maxFlowsPerUser) return false
    this.#total += 1
    this.#perUser.set(user, used + 1)
    return true
  }

  /** Counts one flow out. */
  release(user: string): void {
    this.#total -= 1
    const left = (this.#perUser.get(user) ?? 1) - 1
    if (left > 0) this.#perUser.set(user, left)
    else this.#perUser.delete(user)
  }
}
