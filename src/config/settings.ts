/**
 * The settings the endpoint runs on, read from the official files. Plain data that survives a structured clone (it goes
 * to the lanes). Names are those of the files; a key that may be absent is then null.
 */
import type { credentialsFields } from './credentials-fields.ts'
import type { HostList, hostsFields } from './hosts-fields.ts'
import type { rulesFields } from './rules-fields.ts'
import type { TableOf, ValueOf } from './schema.ts'
import type { vpnFields } from './vpn-fields.ts'

export type VpnSettings = TableOf<typeof vpnFields>

type HostEntry = ValueOf<(typeof hostsFields)['main_hosts']>[number]

/** A host with the contents of its files. Both paths are absolute. */
export interface HostSettings extends HostEntry {
  /** PEM, leaf first. */
  readonly cert_chain: string
  /** PEM. */
  readonly private_key: string
  /** Where the host is declared, for remarks about its files: `hosts.toml`, `main_hosts[0]`. */
  readonly declared: Pick<ConfigIssue, 'file' | 'path'>
}
export type HostsSettings = { readonly [K in HostList]: readonly HostSettings[] }

type ClientEntry = ValueOf<(typeof credentialsFields)['client']>[number]

export interface ClientSettings extends ClientEntry {
  readonly aliases: readonly ClientAlias[]
}

/**
 * What else authenticates as a user besides the username and password: spellings of the reference endpoint, a former
 * password.
 */
export interface ClientAlias {
  readonly username: string
  readonly password: string
  /** Milliseconds since the Unix epoch; null when it is valid as long as the file is. */
  readonly validUntil: number | null
}

type Inbound = NonNullable<ValueOf<(typeof rulesFields)['inbound']>>
type Outbound = NonNullable<ValueOf<(typeof rulesFields)['outbound']>>
export type Action = Inbound['default_action']
/** All conditions that are not null must hold, except that a PSK key replaces the prefix. */
export type InboundRule = Inbound['rule'][number]
export type OutboundRule = Outbound['rule'][number]

/** The first rule that matches decides, else `default_action`. */
export interface RuleSet<Rule> {
  readonly default_action: Action
  readonly rules: readonly Rule[]
}

export interface RulesSettings {
  readonly inbound: RuleSet<InboundRule>
  readonly outbound: RuleSet<OutboundRule>
}

/** A remark about one key of one file. Never contains a secret. */
export interface ConfigIssue {
  /** As named on the command line, or in the file that refers to it. */
  readonly file: string
  /** `listen_protocols.http2.max_frame_size`, `main_hosts[0].hostname`; empty for the file as a whole. */
  readonly path: string
  readonly message: string
}

export interface Settings {
  readonly vpn: VpnSettings
  readonly hosts: HostsSettings
  readonly clients: readonly ClientSettings[]
  readonly rules: RulesSettings
  readonly warnings: readonly ConfigIssue[]
}
