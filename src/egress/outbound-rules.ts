/**
 * Outbound rules: which destinations the operator forbids (`[outbound]` of the rules file). The first rule whose
 * conditions all hold decides; a rule without conditions always does.
 */
import type { RuleAction } from '../contract/rule-action.ts'
import { ipBytes } from '../wire/ip-address.ts'
import { unmapped } from '../wire/ip-kind.ts'
import { prefixHolds, type IpPrefix } from '../wire/ip-prefix.ts'
import type { PortRange } from '../wire/target.ts'

/** A condition that is null is always met. */
export interface OutboundRule {
  readonly ports: PortRange | null
  readonly destination: IpPrefix | null
  readonly action: RuleAction
}

export interface OutboundRulesOptions {
  readonly rules: readonly OutboundRule[]
  /** What happens when no rule matches. */
  readonly defaultAction: RuleAction
}

export class OutboundRules {
  readonly #rules: readonly OutboundRule[]
  readonly #defaultAction: RuleAction

  constructor({ rules, defaultAction }: OutboundRulesOptions) {
    this.#rules = rules
    this.#defaultAction = defaultAction
  }

  /** Asked about the address that is really dialled. */
  allows(address: string, port: number): boolean {
    if (this.#rules.length === 0) return this.#defaultAction === 'allow'
    const parsed = ipBytes(address)
    if (parsed === undefined) return false
    const bytes = unmapped(parsed)
    const rule = this.#rules.find(
      ({ ports, destination }) =>
        concerns(ports, port) && (destination === null || prefixHolds(destination, bytes)),
    )
    return (rule?.action ?? this.#defaultAction) === 'allow'
  }

  /**
   * Whether a name may be resolved: false only when its port alone settles it. A rule with an address range leaves the
   * question open until the addresses are known.
   */
  allowsName(port: number): boolean {
    const rule = this.#rules.find(({ ports }) => concerns(ports, port))
    return (rule?.destination ?? null) !== null || (rule?.action ?? this.#defaultAction) === 'allow'
  }
}

function concerns(ports: PortRange | null, port: number): boolean {
  return ports === null || (port >= ports.from && port <= ports.to)
}
