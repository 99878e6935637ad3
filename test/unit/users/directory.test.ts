import { describe, expect, it } from 'vitest'
import { ANONYMOUS, Directory } from '../../../src/users/directory.ts'
import { encodeBasicAuth } from '../../../src/wire/basic-auth.ts'

function client(username: string, password: string, aliases: { username: string; password: string }[] = []) {
  return { username, password, aliases, maxTcpSessions: null, maxQuicSessions: null }
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
  ])('lets %s in with %s', (username, password, name) => {
    expect(directory.authenticate(encodeBasicAuth(username, password))?.name).toBe(name)
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
  ])('refuses %s', (_, header) => {
    expect(directory.authenticate(header)).toBeUndefined()
  })

  it('lets everybody in when it has no clients at all', () => {
    expect(new Directory([]).authenticate(undefined)).toBe(ANONYMOUS)
  })

  it('keeps an alias from taking over another user', () => {
    const both = new Directory([client('a', '1'), client('"a"', '2', [{ username: 'a', password: '2' }])])
    expect(both.authenticate(encodeBasicAuth('a', '2'))).toBeUndefined()
    expect(both.authenticate(encodeBasicAuth('a', '1'))?.name).toBe('a')
    expect(both.authenticate(encodeBasicAuth('"a"', '2'))?.name).toBe('"a"')
  })
})
