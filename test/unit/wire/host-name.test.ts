import { describe, expect, it } from 'vitest'
import {
  exampleOf,
  matchesPattern,
  normalizeServerName,
  parseHostName,
  parseNamePattern,
  serverNameIn,
} from '../../../src/wire/host-name.ts'

describe('a host name', () => {
  it.each([
    ['a', 'a'],
    ['VPN.Endpoint', 'vpn.endpoint'],
    ['xn--d1acufc.xn--p1ai', 'xn--d1acufc.xn--p1ai'],
    ['a_b.c', 'a_b.c'],
    [`${'a'.repeat(251)}.b`, `${'a'.repeat(251)}.b`],
  ])('a host name is read from %s', (text, name) => {
    expect(parseHostName(text)).toBe(name)
    expect(parseNamePattern(text)).toBe(name)
  })

  it.each(['', '.a', 'a..b', 'a b', '*.a', 'a.', '-a', `${'a'.repeat(252)}.b`])(
    'a host name is not read from %j',
    (text) => {
      expect(parseHostName(text)).toBeUndefined()
    },
  )

  it('a host name as a client sends it has no case and no root dot', () => {
    expect(normalizeServerName('VPN.example.')).toBe('vpn.example')
  })
})

describe('a pattern', () => {
  it.each([
    ['*.A.b', 'x.a.b', true],
    ['*.a.b', 'X.A.B.', true],
    ['*.a.b', 'x.y.a.b', false],
    ['*.a.b', 'a.b', false],
    ['*.a.b', '.a.b', false],
    ['a.b', 'A.b.', true],
    ['a.b', 'x.a.b', false],
  ])('a pattern %s matches %s: %s', (text, name, expected) => {
    expect(matchesPattern(parseNamePattern(text) ?? '', name)).toBe(expected)
  })

  it.each(['*', '*.', '**.a', '*.*.a', 'a.*.b', '*a.b'])('a pattern is not %j', (text) => {
    expect(parseNamePattern(text)).toBeUndefined()
  })

  it('a pattern has an example that it matches', () => {
    for (const pattern of ['*.a.b', 'a.b']) expect(matchesPattern(pattern, exampleOf(pattern))).toBe(true)
  })
})

describe('the name in an authority', () => {
  it.each([
    ['VPN.example:443', 'vpn.example'],
    ['vpn.example', 'vpn.example'],
    ['vpn.example.:', 'vpn.example'],
    ['[::1]:443', '[::1]'],
    ['', ''],
  ])('the name in the authority %j is found', (authority, name) => {
    expect(serverNameIn(authority)).toBe(name)
  })
})
