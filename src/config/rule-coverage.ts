/**
 * Finds rules that never decide because an earlier one already matches everything that they would: `allow 0.0.0.0/0` in
 * front of `deny 10.0.0.0/8`. The library that computes ranges is loaded only when there are ranges to compare
 * (`docs/decisions/006-ip-num.md`).
 */
import type { IpPrefix } from '../wire/ip-prefix.ts'
import type { PortRange } from '../wire/target.ts'
import type { Findings } from './read.ts'
import type { InboundRule, OutboundRule, RulesSettings } from './settings.ts'

/** All addresses of a prefix, as numbers. */
interface AddressRange {
  readonly family: 4 | 6
  readonly first: bigint
  readonly last: bigint
}

/** The conditions of a rule; null is always met. */
interface Conditions {
  readonly rule: object
  readonly addresses: AddressRange | null
  readonly ports: PortRange | null
  /** Conditions that are only checked for being identical. */
  readonly random: string | null
}

export async function warnOfCoveredRules(
  { inbound, outbound }: RulesSettings,
  file: string,
  findings: Findings,
): Promise<void> {
  const lists = [inbound.rules.map(inboundConditions), outbound.rules.map(outboundConditions)]
  const rangeOf = lists.some((list) => list.length > 1) ? await loadRanges() : () => null
  for (const list of lists) {
    const sound = list.filter(({ rule }) => !findings.isWrong(file, findings.placeOf(rule)))
    const rules = sound.map(({ prefix, ...rest }) => ({ ...rest, addresses: prefix && rangeOf(prefix) }))
    for (const [index, rule] of rules.entries()) {
      const earlier = rules.slice(0, index).find((each) => covers(each, rule))
      if (earlier === undefined) continue
      const message = `never decides: ${findings.placeOf(earlier.rule)} takes all that it would`
      findings.warn(file, findings.placeOf(rule.rule), message)
    }
  }
}

type Unranged = Omit<Conditions, 'addresses'> & { readonly prefix: IpPrefix | null }

function inboundConditions(rule: InboundRule): Unranged {
  const { cidr: prefix, client_random_prefix: start, client_random_psk_key: key } = rule
  const random = key !== null ? `key ${hexOf(key)}` : start && `${hexOf(start.bytes)}/${hexOf(start.mask)}`
  return { rule, prefix, ports: null, random }
}

function outboundConditions(rule: OutboundRule): Unranged {
  return { rule, prefix: rule.destination_cidr, ports: rule.destination_port, random: null }
}

function covers(earlier: Conditions, later: Conditions): boolean {
  if (earlier.random !== null && earlier.random !== later.random) return false
  return (
    within(later.ports, earlier.ports, (inner, outer) => inner.from >= outer.from && inner.to <= outer.to) &&
    within(later.addresses, earlier.addresses, isInside)
  )
}

function within<T>(inner: T | null, outer: T | null, isIn: (inner: T, outer: T) => boolean): boolean {
  return outer === null || (inner !== null && isIn(inner, outer))
}

function isInside(inner: AddressRange, outer: AddressRange): boolean {
  return inner.family === outer.family && inner.first >= outer.first && inner.last <= outer.last
}

/** The library takes 30 ms and 8 MiB to load, which a file with at most one rule should not cost. */
export async function loadRanges(): Promise<(prefix: IpPrefix) => AddressRange> {
  const { IPv4, IPv4CidrRange, IPv4Prefix, IPv6, IPv6CidrRange, IPv6Prefix } = await import('ip-num')
  return ({ bytes, bits }) => {
    const number = BigInt(`0x${hexOf(bytes)}`)
    const range =
      bytes.length === 4
        ? new IPv4CidrRange(new IPv4(number), new IPv4Prefix(BigInt(bits)))
        : new IPv6CidrRange(new IPv6(number), new IPv6Prefix(BigInt(bits)))
    const family = bytes.length === 4 ? 4 : 6
    return { family, first: range.getFirst().getValue(), last: range.getLast().getValue() }
  }
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
