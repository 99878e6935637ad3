/**
 * What happens to keys of `vpn.toml` that change while the endpoint runs: the field table says which are reloadable.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Fields } from './schema.ts'
import type { VpnSettings } from './settings.ts'
import { vpnFields } from './vpn-fields.ts'

/** Paths of changed keys that need a restart, or of whole tables that were added or removed. */
export function keysThatTakeARestart(running: VpnSettings, read: VpnSettings): string[] {
  return [...changedKeys(vpnFields, running, read, '')]
}

/** The settings in force after a reload: reloadable keys as just read, all others as the endpoint already runs. */
export function afterReload(running: VpnSettings, read: VpnSettings): VpnSettings {
  return mergeReloadable(vpnFields, running, read) as VpnSettings
}

type Table = Readonly<Record<string, unknown>>

function* changedKeys(fields: Fields, before: Table, after: Table, path: string): Generator<string> {
  for (const [key, field] of Object.entries(fields)) {
    const here = path === '' ? key : `${path}.${key}`
    const [old, fresh] = [before[key], after[key]]
    if (field.reloadable || isDeepStrictEqual(old, fresh)) continue
    if (field.kind === 'table' && isTable(old) && isTable(fresh))
      yield* changedKeys(field.fields, old, fresh, here)
    else yield here
  }
}

function mergeReloadable(fields: Fields, before: Table, after: Table): Table {
  const entries = Object.entries(fields).map(([key, field]) => {
    const [old, fresh] = [before[key], after[key]]
    if (field.reloadable) return [key, fresh]
    const inside = field.kind === 'table' && isTable(old) && isTable(fresh)
    return [key, inside ? mergeReloadable(field.fields, old, fresh) : old]
  })
  return Object.fromEntries(entries) as Table
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null
}
