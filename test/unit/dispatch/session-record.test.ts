/** Which users are on a session, what is remembered about them, and what a new snapshot of users does to it. */
import { describe, expect, it } from 'vitest'
import type { Exchange } from '../../../src/contract/exchange.ts'
import { SessionRecord } from '../../../src/dispatch/session-record.ts'
import type { UserDirectory } from '../../../src/dispatch/session-record.ts'

const NOW = 1_700_000_000_000

/** Headers are `NAME any spelling`. Counts how often it is asked. */
class Names implements UserDirectory {
  asked = 0
  readonly #names: readonly string[]
  readonly #until: number

  constructor(names: readonly string[], until = Infinity) {
    this.#names = names
    this.#until = until
  }

  authenticate(header: string | undefined, nowMs: number) {
    this.asked++
    const name = header?.split(' ', 1)[0] ?? ''
    if (!this.#names.includes(name) || nowMs >= this.#until) return undefined
    return { user: { name, maxTcpSessions: null, maxQuicSessions: null }, validUntil: this.#until }
  }
}

describe('a session', () => {
  it('a session asks once for a spelling', () => {
    const record = new SessionRecord(0, false)
    const names = new Names(['alice'])
    for (let i = 0; i < 10; i++) expect(record.authenticate('alice', names, NOW)?.user.name).toBe('alice')
    expect(names.asked).toBe(1)
  })

  /** 2000 spellings of one credential cost 15 MB: each was kept for as long as the session lived. */
  it('a session remembers few of 2000 spellings', () => {
    const record = new SessionRecord(0, false)
    const names = new Names(['alice'])
    for (let i = 0; i < 2000; i++) record.authenticate(`alice ${i}`, names, NOW)
    names.asked = 0
    expect(record.reconsider(names).left).toBe(1)
    expect(names.asked).toBe(4)
  })

  it('a session is of one user, and others are unknown on it', () => {
    const record = new SessionRecord(0, false)
    const names = new Names(['alice', 'bob'])
    expect(record.authenticate('alice', names, NOW)?.user.name).toBe('alice')
    expect(record.authenticate('bob', names, NOW)).toBeUndefined()
    expect(record.fault).toBe('another_user')
    expect(record.authenticate('eve', names, NOW)).toBeUndefined()
    expect(record.fault).toBe('wrong')
    expect(record.authenticate(undefined, names, NOW)).toBeUndefined()
    expect(record.fault).toBe('missing')
    expect(record.authenticate('alice other', names, NOW)?.user.name).toBe('alice')
  })

  it('a session is of several users where that is allowed', () => {
    const record = new SessionRecord(0, true)
    const names = new Names(['alice', 'bob'])
    expect(record.authenticate('alice', names, NOW)?.user.name).toBe('alice')
    expect(record.authenticate('bob', names, NOW)?.user.name).toBe('bob')
    expect(record.userName).toBe('alice')
  })
})

describe('a new snapshot', () => {
  it('a new snapshot ends what is of a user that is gone, and nothing else', () => {
    const record = new SessionRecord(0, true)
    const both = new Names(['alice', 'bob'])
    const resets: string[] = []
    for (const name of ['alice', 'bob']) {
      const exchange = {
        cancel: () => void resets.push(name),
        signal: new AbortController().signal,
      } as unknown as Exchange
      const guest = record.authenticate(name, both, NOW)
      guest?.begin({ guest, exchange })
    }
    const { revoked, left } = record.reconsider(new Names(['alice']))
    expect([revoked.map(({ user }) => user.name), left]).toEqual([['bob'], 1])
    for (const guest of revoked) guest.cutOff()
    expect(resets).toEqual(['bob'])
  })

  it('a new snapshot counts also for those who have asked for nothing since the last one', () => {
    const record = new SessionRecord(0, true)
    const both = new Names(['alice', 'bob'])
    record.authenticate('alice', both, NOW)
    record.authenticate('bob', both, NOW)
    record.reconsider(both)
    record.authenticate('alice', both, NOW)
    expect(record.reconsider(new Names(['alice'])).revoked).toHaveLength(1)
  })

  it('a new snapshot keeps a user of whom one spelling is left', () => {
    const record = new SessionRecord(0, false)
    const any = new Names(['alice'])
    record.authenticate('alice old', any, NOW)
    record.authenticate('alice new', any, NOW)
    const onlyNew: UserDirectory = {
      authenticate: (header, nowMs) => (header === 'alice new' ? any.authenticate(header, nowMs) : undefined),
    }
    expect(record.reconsider(onlyNew)).toEqual({ revoked: [], left: 1 })
  })
})

it('what held for a time is asked again after it', () => {
  const record = new SessionRecord(0, false)
  const names = new Names(['alice'], NOW + 1000)
  expect(record.authenticate('alice', names, NOW)).toBeDefined()
  expect(record.authenticate('alice', names, NOW + 999)).toBeDefined()
  expect(record.authenticate('alice', names, NOW + 1000)).toBeUndefined()
})

it('what held for a time is still open after it and a new snapshot, and lets in nothing new', () => {
  const record = new SessionRecord(0, false)
  const names = new Names(['alice'], NOW + 1000)
  record.authenticate('alice', names, NOW)
  expect(record.reconsider(names)).toEqual({ revoked: [], left: 1 })
  expect(record.authenticate('alice', names, NOW + 999)).toBeDefined()
  expect(record.authenticate('alice', names, NOW + 1000)).toBeUndefined()
  expect(record.reconsider(new Names([]))).toMatchObject({ left: 0 })
})
