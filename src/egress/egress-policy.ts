/** What may be reached: the address policy and the outbound rules in one answer, for TCP, UDP and ICMP alike. */
import type { RefusalCode } from '../errors.ts'
import type { AddressPolicy } from './address-policy.ts'
import type { OutboundRules } from './outbound-rules.ts'

export class EgressPolicy {
  readonly #addresses: AddressPolicy
  #rules: OutboundRules

  constructor(addresses: AddressPolicy, rules: OutboundRules) {
    this.#addresses = addresses
    this.#rules = rules
  }

  /** For everything that is dialled from now on. */
  replaceRules(rules: OutboundRules): void {
    this.#rules = rules
  }

  /** Whether the outbound rules alone allow what is dialled. */
  allows(address: string, port: number): boolean {
    return this.#rules.allows(address, port)
  }

  /** Whether a name may be resolved for this port; the addresses are judged one by one. */
  allowsName(port: number): boolean {
    return this.#rules.allowsName(port)
  }

  /** Why the address policy alone forbids `address`; undefined when it does not. */
  refusal(address: string, port: number): RefusalCode | undefined {
    return this.#addresses.refusal(address, port)
  }

  /**
   * Both together; `port` is 0 where there are none (ICMP).
   * @throws EndpointError with a refusal code.
   */
  check(address: string, port: number): void {
    this.#addresses.check(address, port)
    this.#rules.check(address, port)
  }
}
