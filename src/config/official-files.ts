/** The four official files as a list, from which the documentation and the samples are generated. */
import { credentialsFields } from './credentials-fields.ts'
import { hostsFields } from './hosts-fields.ts'
import { rulesFields } from './rules-fields.ts'
import type { Fields } from './schema.ts'
import { vpnFields } from './vpn-fields.ts'

export interface OfficialFile {
  readonly name: string
  readonly fields: Fields
  readonly intro: string
  /** Optional tables, and keys without a default, that the sample sets so that it can be used as it is. */
  readonly active: readonly string[]
}

export const OFFICIAL_FILES: readonly OfficialFile[] = [
  {
    name: 'vpn.toml',
    fields: vpnFields,
    intro: 'What the endpoint does. The first argument of `culvert serve`.',
    active: [
      'credentials_file',
      'rules_file',
      'listen_protocols.http1',
      'listen_protocols.http2',
      'listen_protocols.quic',
    ],
  },
  {
    name: 'hosts.toml',
    fields: hostsFields,
    intro: 'The names that it answers to, with their certificates. The second argument.',
    active: ['main_hosts'],
  },
  {
    name: 'credentials.toml',
    fields: credentialsFields,
    intro: 'The users; named by `credentials_file`.',
    active: ['client'],
  },
  {
    name: 'rules.toml',
    fields: rulesFields,
    intro: 'Who may connect, and where to; named by `rules_file`.',
    active: [],
  },
]

/** A value in TOML. */
export function formatToml(raw: unknown): string {
  if (Array.isArray(raw)) return `[${raw.map(formatToml).join(', ')}]`
  return typeof raw === 'string' ? quoteToml(raw) : String(raw)
}

/** A TOML basic string. JSON escapes the same characters, except for DEL. */
export function quoteToml(text: string): string {
  return JSON.stringify(text).replaceAll('\u007f', String.raw`\u007f`)
}
