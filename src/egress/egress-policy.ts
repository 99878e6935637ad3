/** What may be reached: the address policy and the outbound rules as one verdict, for TCP, UDP and ICMP alike. */
import { EndpointError, type RefusalCode } from '../errors.ts'
import type { AddressPolicy } from './address-policy.ts'
import type { OutboundRules } from './outbound-rules.ts'

/** The part of {@link EgressPolicy} that sending datagrams needs; port 0 stands for "no port". */
export interface AddressCheck {
  /** @throws EndpointError with a refusal code. */
  check(address: string, port: number): void
}

export class EgressPolicy implements AddressCheck {
  readonly #addresses: AddressPolicy
  #rules: OutboundRules

  constructor(addresses: AddressPolicy, rules: OutboundRules) {
    this.#addresses = addresses
    this.#rules = rules
  }

  /** Applies to everything that is dialled from now on. */
  replaceRules(rules: OutboundRules): void {
    this.#rules = rules
  }

  /** Why `address` may not be reached; undefined when it may. `port` is 0 for protocols without ports (ICMP). */
  refusal(address: string, port: number): RefusalCode | undefined {
    const code = this.#addresses.refusal(address, port)
    if (code !== undefined) return code
    return this.#rules.allows(address, port) ? undefined : 'target_denied'
  }

  /** Why names must not be resolved for this port; undefined leaves it to their addresses, one by one. */
  nameRefusal(port: number): RefusalCode | undefined {
    return this.#rules.allowsName(port) ? undefined : 'target_denied'
  }

  /** @throws EndpointError with the code of {@link refusal}. */
  check(address: string, port: number): void {
    const code = this.refusal(address, port)
    if (code === 'target_denied') throw new EndpointError(code, 'an outbound rule forbids the destination')
    if (code !== undefined) throw new EndpointError(code, 'the address policy forbids the address')
  }
}
