/** Keys of `vpn.toml` that were changed while the endpoint runs and wait for a restart. */
import { isDeepStrictEqual } from 'node:util'
import type { Fields } from './schema.ts'
import type { VpnSettings } from './settings.ts'
import { vpnFields } from './vpn-fields.ts'

/** What a reload puts in force, together with the three other files. */
const RELOADED = new Set([
  'credentials_file',
  'rules_file',
  'default_max_http2_conns_per_client',
  'default_max_http3_conns_per_client',
  'culvert.edge.pass',
])

/** Paths of the keys, or of whole tables that were added or removed. */
export function keysThatTakeARestart(running: VpnSettings, read: VpnSettings): string[] {
  return [...changedKeys(vpnFields, running, read, '')].filter((path) => !RELOADED.has(path))
}

type Table = Readonly<Record<string, unknown>>

function* changedKeys(fields: Fields, before: Table, after: Table, path: string): Generator<string> {
  for (const [key, field] of Object.entries(fields)) {
    const here = path === '' ? key : `${path}.${key}`
    const [old, fresh] = [before[key], after[key]]
    if (isDeepStrictEqual(old, fresh)) continue
    if (field.kind === 'table' && isTable(old) && isTable(fresh))
      yield* changedKeys(field.fields, old, fresh, here)
    else yield here
  }
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null
}
