/** Limits on UDP flows over all lanes: in all, and per user (each flow needs a descriptor). */

interface UdpBudgetOptions {
  readonly maxFlows: number
  readonly maxFlowsPerUser: number
}

/** What the endpoint and its users hold in all lanes (`users/ledger.ts`). */
export interface FlowSlots {
  readonly endpoint: FlowSlot
  of(user: string): FlowSlot
}

interface FlowSlot {
  take(what: 'flows', limit: number): boolean
  give(what: 'flows'): void
  total(what: 'flows'): number
}

export class UdpBudget {
  readonly #options: UdpBudgetOptions
  readonly #slots: FlowSlots

  constructor(options: UdpBudgetOptions, slots: FlowSlots) {
    this.#options = options
    this.#slots = slots
  }

  of(user: string): UdpShare {
    return new UdpShare(this.#options, this.#slots.endpoint, this.#slots.of(user))
  }
}

/** The budget as one user's stream sees it. */
export class UdpShare {
  readonly #options: UdpBudgetOptions
  readonly #endpoint: FlowSlot
  readonly #user: FlowSlot

  constructor(options: UdpBudgetOptions, endpoint: FlowSlot, user: FlowSlot) {
    this.#options = options
    this.#endpoint = endpoint
    this.#user = user
  }

  /** Whether no further flow can be opened now. */
  get isFull(): boolean {
    const { maxFlows, maxFlowsPerUser } = this.#options
    return this.#endpoint.total('flows') >= maxFlows || this.#user.total('flows') >= maxFlowsPerUser
  }

  /** A place for one flow; false when there is none. */
  take(): boolean {
    const { maxFlows, maxFlowsPerUser } = this.#options
    if (!this.#user.take('flows', maxFlowsPerUser)) return false
    if (this.#endpoint.take('flows', maxFlows)) return true
    this.#user.give('flows')
    return false
  }

  release(): void {
    this.#endpoint.give('flows')
    this.#user.give('flows')
  }
}
