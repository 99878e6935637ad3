/** The import rule of `docs/architecture.md`: walls between rooms stand because this test says so. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

const SRC = join(import.meta.dirname, '../../src')
/** Files at the top of `src` that every room may use. */
const COMMON = ['errors.ts', 'log.ts', 'clock.ts', 'counters.ts']
/** What else a room may import; `type` marks imports that must be types only. */
const ALLOWED: Record<string, { rooms: string[]; types?: string[]; common?: string[] }> = {
  wire: { rooms: [], common: ['errors.ts'] },
  gate: { rooms: ['wire'], types: ['tunnel'] },
  transport: { rooms: ['wire'], types: ['tunnel'] },
  tunnel: { rooms: ['wire'] },
  forward: { rooms: ['wire', 'relay'], types: ['tunnel'] },
  egress: { rooms: ['wire'] },
  relay: { rooms: [], types: ['tunnel'] },
  service: { rooms: ['wire', 'relay'], types: ['tunnel'] },
  users: { rooms: ['wire'] },
  admin: { rooms: ['wire'] },
  client: { rooms: ['wire', 'relay'] },
  config: { rooms: ['wire'] },
  cli: { rooms: ['wire', 'config', 'client'], common: [...COMMON, 'supervisor.ts'] },
}
const IMPORT = /^(?:import|export)\s+(type\s)?[^'"]*?from\s+'(\.[^']+)'/gms

interface Import {
  readonly from: string
  readonly to: string
  readonly typeOnly: boolean
}

function readImports(): Import[] {
  return globSync('**/*.ts', { cwd: SRC }).flatMap((from) =>
    [...readFileSync(join(SRC, from), 'utf8').matchAll(IMPORT)].map((match) => ({
      from,
      to: relative(SRC, join(SRC, dirname(from), match[2] ?? '')),
      typeOnly: match[1] !== undefined,
    })),
  )
}

function isAllowed({ from, to, typeOnly }: Import): boolean {
  const room = from.split('/')[0] ?? ''
  // Files at the top join the rooms: that is what they are for.
  if (!from.includes('/')) return true
  const rule = ALLOWED[room]
  if (rule === undefined) return false
  if (!to.includes('/')) return (rule.common ?? COMMON).includes(to)
  const target = to.split('/')[0] ?? ''
  if (target === room || rule.rooms.includes(target)) return true
  return typeOnly && (rule.types ?? []).includes(target)
}

describe('import rule', () => {
  const imports = readImports()

  it('sees the tree', () => {
    expect(imports.length).toBeGreaterThan(50)
    expect(imports).toContainEqual({ from: 'transport/http2.ts', to: 'tunnel/session.ts', typeOnly: true })
  })

  it('lets no room reach into another', () => {
    const broken = imports.filter((entry) => !isAllowed(entry))
    expect(broken.map(({ from, to }) => `${from} -> ${to}`)).toEqual([])
  })

  it('would notice a wall broken', () => {
    expect(isAllowed({ from: 'forward/tcp.ts', to: 'egress/dial.ts', typeOnly: true })).toBe(false)
    expect(isAllowed({ from: 'wire/cursor.ts', to: 'log.ts', typeOnly: true })).toBe(false)
    expect(isAllowed({ from: 'transport/http2.ts', to: 'tunnel/tunnel.ts', typeOnly: false })).toBe(false)
  })

  it('keeps process.argv and exit codes in main.ts', () => {
    const users = globSync('**/*.ts', { cwd: SRC }).filter((file) =>
      /process\.(argv|exit\b|exitCode)/.test(readFileSync(join(SRC, file), 'utf8')),
    )
    expect(users.filter((file) => file !== 'main.ts')).toEqual([])
  })
})
