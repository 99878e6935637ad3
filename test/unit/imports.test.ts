/** The import rule of `docs/architecture.md`: this test keeps the walls between rooms standing. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

const SRC = join(import.meta.dirname, '../../src')
/** Files at the top of `src` that every room may use. */
const COMMON = ['errors.ts', 'log.ts', 'clock.ts', 'counters.ts', 'heap.ts']
/** What else a room may import; `type` marks imports that must be types only. */
const ALLOWED: Record<string, { rooms: string[]; types?: string[]; common?: string[] }> = {
  wire: { rooms: [], common: ['errors.ts'] },
  contract: { rooms: [], types: ['wire'] },
  gate: { rooms: ['wire'], types: ['contract'] },
  transport: { rooms: ['wire'], types: ['contract'] },
  dispatch: { rooms: ['wire'], types: ['contract'] },
  forward: { rooms: ['wire', 'relay'], types: ['contract'] },
  egress: { rooms: ['wire'], types: ['contract'] },
  relay: { rooms: ['wire'], types: ['contract'] },
  web: { rooms: ['wire', 'relay'], types: ['contract'] },
  users: { rooms: ['wire'], types: ['contract'] },
  config: { rooms: ['wire'] },
  cli: { rooms: ['wire', 'config', 'control'] },
  control: { rooms: ['config', 'users'], types: ['lane'] },
  // Creates the rooms and connects them: the only place that knows them all.
  lane: {
    rooms: ['wire', 'config', 'gate', 'transport', 'dispatch', 'forward', 'egress', 'relay', 'web', 'users'],
    types: ['contract'],
  },
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
  // Only `main.ts` imports commands; every room may use the other files at the top.
  if (from === 'main.ts') return true
  if (!from.includes('/')) return COMMON.includes(to)
  const rule = ALLOWED[room]
  if (rule === undefined) return false
  if (!to.includes('/')) return (rule.common ?? COMMON).includes(to)
  const target = to.split('/')[0] ?? ''
  if (target === room || rule.rooms.includes(target)) return true
  return typeOnly && (rule.types ?? []).includes(target)
}

describe('import rule', () => {
  const imports = readImports()

  it('the import rule sees the tree', () => {
    expect(imports.length).toBeGreaterThan(50)
    expect(imports).toContainEqual({
      from: 'transport/http2/session.ts',
      to: 'contract/session.ts',
      typeOnly: true,
    })
  })

  it('the import rule lets no room reach into another', () => {
    const broken = imports.filter((entry) => !isAllowed(entry))
    expect(broken.map(({ from, to }) => `${from} -> ${to}`)).toEqual([])
  })

  it('the import rule would notice a wall broken', () => {
    expect(isAllowed({ from: 'forward/tcp.ts', to: 'egress/tcp.ts', typeOnly: true })).toBe(false)
    expect(isAllowed({ from: 'wire/cursor.ts', to: 'log.ts', typeOnly: true })).toBe(false)
    expect(
      isAllowed({ from: 'transport/http2/transport.ts', to: 'dispatch/dispatcher.ts', typeOnly: false }),
    ).toBe(false)
  })

  it('process.argv and exit codes stay in main.ts', () => {
    const users = globSync('**/*.ts', { cwd: SRC }).filter((file) =>
      /process\.(argv|exit\b|exitCode)/.test(readFileSync(join(SRC, file), 'utf8')),
    )
    expect(users.filter((file) => file !== 'main.ts')).toEqual([])
  })

  it('the import rule leaves what an address means to wire', () => {
    const copies = globSync('**/*.ts', { cwd: SRC }).filter((file) =>
      /\bisIP(?:v[46])?\b|\bBlockList\b|'::ffff:'|startsWith\('127\./.test(
        readFileSync(join(SRC, file), 'utf8'),
      ),
    )
    expect(copies).toEqual([])
  })
})
