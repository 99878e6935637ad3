/**
 * The field table says which keys a reload puts into force. There used to be a separate list of them, and what the lane
 * did depended on neither. Here every key is changed in turn: what a lane replaces must change with the keys that the
 * table calls reloadable, and with no others.
 */
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from 'vitest'
import { afterReload, keysThatTakeARestart } from '../../../src/config/restart-keys.ts'
import type { Field, Fields } from '../../../src/config/schema.ts'
import type { Settings, VpnSettings } from '../../../src/config/settings.ts'
import { vpnFields } from '../../../src/config/vpn-fields.ts'
import { reloadable } from '../../../src/lane/options.ts'
import { ConfigDirectory, VPN } from '../../support/config-directory.ts'

type Table = Record<string, unknown>

/** The contents of these files have keys of their own. */
const NAMES_OF_FILES = ['credentials_file', 'rules_file']
const EVERYTHING = `${VPN}[listen_protocols.http1]
[listen_protocols.quic]
[icmp]
[metrics]
[subscription]
[reverse_proxy]
server_address = "127.0.0.1:1"
path_mask = "/app"
`

/** Keys and whole lists of tables, each with its path. */
function leavesOf(fields: Fields, path: string[] = []): { path: string[]; field: Field }[] {
  return Object.entries(fields).flatMap(([key, field]) =>
    field.kind === 'table' ? leavesOf(field.fields, [...path, key]) : [{ path: [...path, key], field }],
  )
}

/** Some other value; its meaning does not matter here. */
function otherThan(value: unknown): unknown {
  if (typeof value === 'boolean') return !value
  if (typeof value === 'number') return value + 1
  if (Array.isArray(value)) return [...(value as unknown[]), { other: true }]
  if (typeof value === 'object' && value !== null) return { ...value, other: true }
  return `other than ${String(value)}`
}

/** The same settings with one value changed; undefined where the table around it is not set. */
function withChanged(settings: Settings, path: readonly string[]): Settings | undefined {
  const changed = structuredClone(settings)
  let table: Table | null = changed.vpn
  for (const key of path.slice(0, -1)) table = (table?.[key] ?? null) as Table | null
  const last = path.at(-1) ?? ''
  if (table === null) return undefined
  table[last] = otherThan(table[last])
  return changed
}

describe('a key of vpn.toml', async () => {
  using directory = new ConfigDirectory({ 'vpn.toml': EVERYTHING })
  const settings = await directory.load()
  const leaves = leavesOf(vpnFields)
    .filter(({ path: [first = ''] }) => !NAMES_OF_FILES.includes(first))
    .flatMap(({ path, field }) => {
      const changed = withChanged(settings, path)
      return changed ? [{ key: path.join('.'), field, changed }] : []
    })

  it('a key of vpn.toml is found wherever it stands', () => {
    const keys = leaves.map(({ key }) => key)
    expect(keys).toContain('culvert.edge.pass')
    expect(keys).toContain('listen_protocols.quic.initial_max_data')
    expect(keys.length).toBeGreaterThan(60)
  })

  it.each(leaves)(
    'the key $key changes what a lane replaces just if the table says so',
    ({ field, changed }) => {
      expect(!isDeepStrictEqual(reloadable(changed), reloadable(settings))).toBe(field.reloadable)
    },
  )

  it.each(leaves)(
    'the key $key is in force after a reload just if the table says so',
    ({ key, field, changed }) => {
      const inForce = afterReload(settings.vpn, changed.vpn)
      const expected: VpnSettings = field.reloadable ? changed.vpn : settings.vpn
      expect(inForce).toEqual(expected)
      expect(keysThatTakeARestart(settings.vpn, changed.vpn)).toEqual(field.reloadable ? [] : [key])
    },
  )
})
