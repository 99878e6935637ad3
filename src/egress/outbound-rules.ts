/**
 * Outbound rules: which destinations the operator forbids (`[outbound]` of the rules file). The first rule whose
 * conditions all hold decides; a rule without conditions always holds.
 */
import { EndpointError } from '../errors.ts'
import { ipBytes } from '../wire/ip-address.ts'
import { unmapped } from '../wire/ip-kind.ts'
import { parseIpPrefix, prefixHolds, type IpPrefix } from '../wire/ip-prefix.ts'

export type RuleAction = 'allow' | 'deny'

export interface OutboundRule {
  /** `N` or `A-B`, both ends included. */
  readonly destinationPort?: string | undefined
  readonly destinationCidr?: string | undefined
  readonly action: RuleAction
}

export interface OutboundRulesOptions {
  readonly rules: readonly OutboundRule[]
  /** What holds when no rule matches. */
  readonly defaultAction: RuleAction
}

interface CompiledRule {
  readonly firstPort: number
  readonly lastPort: number
  readonly prefix: IpPrefix | undefined
  readonly action: RuleAction
}

const PORTS = /^(\d{1,5})(?:-(\d{1,5}))?$/
const MAX_PORT = 65_535

function compile(rule: OutboundRule, index: number): CompiledRule {
  const [, first = '', last = first] = PORTS.exec(rule.destinationPort ?? `0-${MAX_PORT}`) ?? []
  const [firstPort, lastPort] = [Number(first), Number(last)]
  if (first === '' || firstPort > lastPort || lastPort > MAX_PORT) {
    throw new EndpointError('config_invalid', `outbound rule ${index + 1}: destination_port is N or A-B`)
  }
  const prefix = rule.destinationCidr === undefined ? undefined : parseIpPrefix(rule.destinationCidr)
  if (rule.destinationCidr !== undefined && prefix === undefined) {
    throw new EndpointError('config_invalid', `outbound rule ${index + 1}: destination_cidr is ADDRESS/BITS`)
  }
  return { firstPort, lastPort, prefix, action: rule.action }
}

export class OutboundRules {
  readonly #rules: readonly CompiledRule[]
  readonly #defaultAction: RuleAction

  /** @throws EndpointError `config_invalid` that names the rule: one that never matched would fail open. */
  constructor(options: OutboundRulesOptions) {
    this.#rules = options.rules.map((rule, index) => compile(rule, index))
    this.#defaultAction = options.defaultAction
  }

  /** What is really dialled. */
  allows(address: string, port: number): boolean {
    if (this.#rules.length === 0) return this.#defaultAction === 'allow'
    const parsed = ipBytes(address)
    if (parsed === undefined) return false
    const bytes = unmapped(parsed)
    const rule = this.#rules.find(
      ({ firstPort, lastPort, prefix }) =>
        port >= firstPort && port <= lastPort && (prefix === undefined || prefixHolds(prefix, bytes)),
    )
    return (rule?.action ?? this.#defaultAction) === 'allow'
  }

  /**
   * Whether a name may be resolved: false only when its port alone settles it. A rule with a range leaves it
   * open until the addresses are known.
   */
  allowsName(port: number): boolean {
    const rule = this.#rules.find(({ firstPort, lastPort }) => port >= firstPort && port <= lastPort)
    return rule?.prefix !== undefined || (rule?.action ?? this.#defaultAction) === 'allow'
  }
}
