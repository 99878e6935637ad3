/** Builds rules and addresses from text, as a configuration file would give them. */
import { parseAddressPort, parsePortRange } from '../../src/config/values.ts'
import type { OutboundRule } from '../../src/egress/outbound-rules.ts'
import type { RuleAction } from '../../src/contract/rule-action.ts'
import type { InboundRule } from '../../src/gate/inbound-rules.ts'
import { parseIpPrefix, type IpPrefix } from '../../src/wire/ip-prefix.ts'
import { parseHex, parseRandomPrefix } from '../../src/wire/random-prefix.ts'
import type { SocketAddress } from '../../src/wire/target.ts'

function read<T>(text: string, parse: (text: string) => T | undefined): T {
  const value = parse(text)
  if (value === undefined) throw new Error(`cannot read ${JSON.stringify(text)}`)
  return value
}

export function ipPrefix(text: string): IpPrefix {
  return read(text, parseIpPrefix)
}

export function socketAddress(text: string): SocketAddress {
  return read(text, parseAddressPort)
}

export interface InboundText {
  readonly cidr?: string
  readonly clientRandomPrefix?: string
  readonly clientRandomPskKey?: string
  readonly action: RuleAction
}

export function inboundRules(...rules: InboundText[]): InboundRule[] {
  return rules.map(({ cidr, clientRandomPrefix, clientRandomPskKey, action }) => ({
    source: cidr === undefined ? null : ipPrefix(cidr),
    randomPrefix: clientRandomPrefix === undefined ? null : read(clientRandomPrefix, parseRandomPrefix),
    pskKey: clientRandomPskKey === undefined ? null : read(clientRandomPskKey, parseHex),
    action,
  }))
}

export interface OutboundText {
  readonly destinationPort?: string
  readonly destinationCidr?: string
  readonly action: RuleAction
}

export function outboundRules(...rules: OutboundText[]): OutboundRule[] {
  return rules.map(({ destinationPort, destinationCidr, action }) => ({
    ports: destinationPort === undefined ? null : read(destinationPort, parsePortRange),
    destination: destinationCidr === undefined ? null : ipPrefix(destinationCidr),
    action,
  }))
}
