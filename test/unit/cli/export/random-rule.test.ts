import { readFileSync, statSync, writeFileSync, chmodSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { generatePrefix, matchPrefix, prependAllowRule } from '../../../../src/cli/export/random-rule.ts'
import { parseRandomPrefix } from '../../../../src/wire/random-prefix.ts'
import { ConfigDirectory, VPN } from '../../../support/config-directory.ts'

function bitsOf(hex: string): number {
  return [...Buffer.from(hex, 'hex')].reduce(
    (sum, byte) => sum + byte.toString(2).replaceAll('0', '').length,
    0,
  )
}

describe('a generated prefix', () => {
  it.each([
    [4, 70, 22],
    [1, 1, 1],
    [32, 100, 256],
    [2, 50, 8],
  ])(
    'a generated prefix of %d bytes and %d %% fixes %d bits, and only those are set',
    (bytes, percent, bits) => {
      const [prefix = '', mask = ''] = generatePrefix({ bytes, percent }).split('/')
      expect([prefix.length, mask.length]).toEqual([2 * bytes, 2 * bytes])
      expect(bitsOf(mask)).toBe(bits)
      const outside = Buffer.from(prefix, 'hex').some(
        (byte, at) => (byte & ~Buffer.from(mask, 'hex')[at]!) !== 0,
      )
      expect(outside).toBe(false)
    },
  )

  it('a generated prefix takes a mask of the same length only', () => {
    expect(generatePrefix({ bytes: 2, percent: 70, mask: 'ff00' })).toMatch(/^[0-9a-f]{2}00\/ff00$/)
    expect(() => generatePrefix({ bytes: 3, percent: 70, mask: 'ff00' })).toThrow('3 bytes')
  })
})

async function prepend(rules: string | undefined) {
  const files = rules === undefined ? { 'rules.toml': '' } : { 'rules.toml': rules }
  using directory = new ConfigDirectory({ ...files, 'vpn.toml': `rules_file = "rules.toml"\n${VPN}` })
  const file = join(directory.path, 'rules.toml')
  if (rules !== undefined) chmodSync(file, 0o600)
  prependAllowRule(file, '1234/ffff')
  const { rules: loaded } = await directory.load()
  return { text: readFileSync(file, 'utf8'), mode: statSync(file).mode & 0o777, loaded }
}

describe('putting a rule in front', () => {
  const NEW = {
    client_random_prefix: { bytes: Uint8Array.of(0x12, 0x34), mask: Uint8Array.of(0xff, 0xff) },
    action: 'allow',
  }

  it('a rule put in front of the legacy form keeps what stands before the list', async () => {
    const { loaded, text, mode } = await prepend('# ours\n[[rule]]\naction = "deny" # all\n')
    expect(loaded?.inbound.rules).toMatchObject([NEW, { action: 'deny' }])
    expect(text).toMatch(/^# ours\n\[\[rule\]\]\nclient_random_prefix[^]*action = "deny" # all\n$/)
    expect(mode).toBe(0o600)
  })

  it.each([
    [
      'with rules',
      '[inbound]\ndefault_action = "deny"\n[[inbound.rule]]\ncidr = "::1"\naction = "allow"\n[outbound]\n',
    ],
    ['without', '[inbound]\ndefault_action = "deny"\n[outbound]\ndefault_action = "allow"'],
  ])('a rule can be put in front of the tables, %s', async (_, rules) => {
    const { loaded } = await prepend(rules)
    expect(loaded?.inbound.default_action).toBe('deny')
    expect(loaded?.inbound.rules[0]).toMatchObject(NEW)
    expect(loaded?.outbound.default_action).toBe('allow')
  })

  it('a rule can be put into an empty file', async () => {
    expect((await prepend(undefined)).loaded?.inbound.rules).toMatchObject([NEW])
  })

  it('a rule that cannot be put in front changes nothing', () => {
    using directory = new ConfigDirectory()
    const file = join(directory.path, 'rules.toml')
    const rules = 'rule = [{ action = "deny" }]\n'
    writeFileSync(file, rules)
    expect(() => prependAllowRule(file, '12')).toThrow()
    expect(readFileSync(file, 'utf8')).toBe(rules)
  })
})

const rules = (...prefixes: string[]) => ({
  inbound: {
    default_action: 'allow' as const,
    rules: prefixes.map((text) => ({
      cidr: null,
      client_random_prefix: parseRandomPrefix(text) ?? null,
      client_random_psk_key: null,
      action: 'deny' as const,
    })),
  },
  outbound: { default_action: 'allow' as const, rules: [] },
})

describe('matching', () => {
  it.each([
    ['aabb', 'aabbcc', true],
    ['aabb', 'aa', false],
    ['aabb/f0f0', 'a1b2', true],
    ['aabb/f0f0', 'a1c2', false],
    ['aabb/f0f0', 'aabb/f0f0', true],
    ['aabb', 'aabb/f0f0', false],
  ])('whether rule %s matches prefix %s: %s', (rule, prefix, expected) => {
    const given = parseRandomPrefix(prefix)!
    expect(matchPrefix(rules(rule), given) !== undefined).toBe(expected)
    expect(matchPrefix(rules(), given)).toBeUndefined()
  })
})
