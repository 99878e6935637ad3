import { describe, expect, it } from 'vitest'
import { ANONYMOUS, Directory } from '../../../src/users/directory.ts'
import { encodeBasicAuth } from '../../../src/wire/basic-auth.ts'

const NOW = 1_700_000_000_000

function client(
  username: string,
  password: string,
  aliases: { username: string; password: string; validUntil?: number }[] = [],
) {
  const spelt = aliases.map((alias) => ({ validUntil: Infinity, ...alias }))
  return { username, password, aliases: spelt, maxTcpSessions: null, maxQuicSessions: null }
}

describe('Directory', () => {
  const directory = new Directory([
    client('alice', 's3cret'),
    client('bob', 'p:w"x', [{ username: 'bob', password: 'p:wx' }]),
    client('Дом', 'ключ'),
  ])

  it.each([
    ['alice', 's3cret', 'alice'],
    ['bob', 'p:w"x', 'bob'],
    ['bob', 'p:wx', 'bob'],
    ['Дом', 'ключ', 'Дом'],
  ])('the directory lets %s in with %s', (username, password, name) => {
    expect(directory.authenticate(encodeBasicAuth(username, password), NOW)?.user.name).toBe(name)
  })

  it.each([
    ['no header', undefined],
    ['another scheme', 'Bearer abc'],
    ['malformed base64', 'Basic !!!'],
    ['unknown user', encodeBasicAuth('mallory', 's3cret')],
    ['wrong password', encodeBasicAuth('alice', 's3creT')],
    ['prefix of the password', encodeBasicAuth('alice', 's3cre')],
    ["another user's password", encodeBasicAuth('alice', 'p:w"x')],
    ['empty password', encodeBasicAuth('alice', '')],
    ['what stands in for nobody', encodeBasicAuth('', Buffer.alloc(32))],
  ])('the directory refuses %s', (_, header) => {
    expect(directory.authenticate(header, NOW)).toBeUndefined()
  })

  it('the directory lets everybody in when it has no clients at all', () => {
    expect(new Directory([]).authenticate(undefined, NOW)?.user).toBe(ANONYMOUS)
  })

  /** With the quoted user first, the other one could never log in. */
  it.each([
    ['after', [1, 0]],
    ['before', [0, 1]],
  ] as const)('the directory keeps an alias from taking over a user who stands %s it', (_, order) => {
    const clients = [client('a', '1'), client('"a"', '2', [{ username: 'a', password: '2' }])] as const
    const both = new Directory(order.map((index) => clients[index]))
    expect(both.authenticate(encodeBasicAuth('a', '2'), NOW)).toBeUndefined()
    expect(both.authenticate(encodeBasicAuth('a', '1'), NOW)?.user.name).toBe('a')
    expect(both.authenticate(encodeBasicAuth('"a"', '2'), NOW)?.user.name).toBe('"a"')
  })

  it('the directory lets the former password in for as long as it says, and the other one all the time', () => {
    const former = { username: 'alice', password: 'old', validUntil: NOW }
    const rotating = new Directory([client('alice', 'new', [former])])
    const old = encodeBasicAuth('alice', 'old')
    expect(rotating.authenticate(old, NOW - 1)).toMatchObject({ user: { name: 'alice' }, validUntil: NOW })
    expect(rotating.authenticate(old, NOW)).toBeUndefined()
    expect(rotating.authenticate(encodeBasicAuth('alice', 'new'), NOW)?.validUntil).toBe(Infinity)
  })
})
