/**
 * The ledger is used by several threads at the same time, so it is tested with several: what cannot be seen with one is
 * two of them taking the last place.
 */
import { describe, expect, it } from 'vitest'
import { AddressTable, returnAddresses } from '../../../src/users/address-table.ts'
import { Ledger } from '../../../src/users/ledger.ts'
import { PAGE_SLOTS, SlotMemory } from '../../../src/users/ledger-memory.ts'
import type { LedgerShare } from '../../../src/users/ledger-memory.ts'
import { SlotBook } from '../../../src/users/slot-book.ts'
import { createStage, dieInThread, runThreads } from '../../support/ledger-threads.ts'

const THREADS = [0, 1, 2, 3]
const ROUNDS = 20_000
const LIMITS = { connections: 4, handshakes: 4, bucket: { size: 100, refillMs: 1 } }

const slotOf = (share: LedgerShare, user: string) => new SlotMemory(share, share.slots.get(user) ?? -1)
const alice = (share: LedgerShare, lane = 0) => new Ledger(share, lane).of('alice')

describe('threads that use the ledger at the same time', () => {
  it.each(['places', 'connections'] as const)(
    'threads that take and give back %s never hold more than the limit, and leave nothing',
    async (what) => {
      const stage = createStage(THREADS.length)
      const { taken, refused, most } = await runThreads(stage, { what, limit: 1, rounds: ROUNDS }, THREADS)
      expect(taken + refused).toBe(THREADS.length * ROUNDS)
      expect(taken).toBeGreaterThan(0)
      expect(most).toBe(1)
      expect(slotOf(stage.ledger, 'alice').isHeld).toBe(false)
      const table = new AddressTable(stage.addresses, 0)
      const all = [1, 2].map(() => table.connect('2001:db8::1', { ...LIMITS, connections: 2 }, 0))
      expect(all.map((hold) => typeof hold)).toEqual(['object', 'object'])
    },
  )

  it('threads that want more places than there are get every one of them, and no more', async () => {
    const stage = createStage(THREADS.length)
    const limit = 50_001
    const { taken, refused } = await runThreads(stage, { what: 'hold', limit, rounds: ROUNDS }, THREADS)
    expect([taken, refused]).toEqual([limit, THREADS.length * ROUNDS - limit])
    expect(slotOf(stage.ledger, 'alice').total('tunnels')).toBe(limit)
  })

  it('threads that count bytes lose none', async () => {
    const stage = createStage(THREADS.length)
    await runThreads(stage, { what: 'bytes', limit: 0, rounds: ROUNDS }, THREADS)
    const count = BigInt(THREADS.length * ROUNDS)
    expect(slotOf(stage.ledger, 'alice').bytes()).toEqual({ uplink: 3n * count, downlink: 5n * count })
  })

  it('threads that count failures of one address lose none', async () => {
    const stage = createStage(THREADS.length)
    await runThreads(stage, { what: 'failures', limit: 0, rounds: ROUNDS }, THREADS)
    const bucket = { size: 2 ** 30, refillMs: 1, floor: 0 }
    const left = new AddressTable(stage.addresses, 0).fail('2001:db8::2', bucket, 0)
    expect(left).toBe(2 ** 30 - THREADS.length * ROUNDS - 1)
  })
})

describe('a lane that dies', () => {
  it('a lane that dies gives back what it held and had locked, and nothing of the others', async () => {
    const stage = createStage(2)
    const { ledger, addresses, book } = stage
    const other = alice(ledger, 0)
    const table = new AddressTable(addresses, 0)
    expect(other.take('tunnels', 8)).toBe(true)
    expect(typeof table.connect('2001:db8::9', LIMITS, 0)).toBe('object')
    new Ledger(ledger, 1).of('alice').addBytes(7, 11)
    await dieInThread(stage, 1)
    expect(other.total('tunnels')).toBe(2)
    book.returnLane(1)
    returnAddresses(addresses, 1)
    expect(other.total('tunnels')).toBe(1)
    expect(other.take('tunnels', 2)).toBe(true)
    expect(other.take('tunnels', 2)).toBe(false)
    const more = [1, 2, 3, 4].map(() => table.connect('2001:db8::9', LIMITS, 0))
    expect(more.map((hold) => (typeof hold === 'string' ? hold : 'taken'))).toEqual([
      'taken',
      'taken',
      'taken',
      'connections',
    ])
    expect(slotOf(ledger, 'alice').bytes()).toEqual({ uplink: 7n, downlink: 11n })
  })
})

describe('the slots of users', () => {
  it('a user keeps the slot from one plan to the next, and others get their own', () => {
    const book = new SlotBook(1)
    book.commit(book.plan(['alice', 'bob']))
    const first = book.share.slots
    book.commit(book.plan(['carol', 'bob']))
    const second = book.share.slots
    expect(second.get('bob')).toBe(first.get('bob'))
    expect(new Set([...first.values(), second.get('carol')]).size).toBe(3)
  })

  it('a slot goes to another user once nothing of the former one is left, with all its counts at zero', () => {
    const book = new SlotBook(1)
    book.commit(book.plan(['alice']))
    const slot = alice(book.share)
    slot.take('tunnels', 1)
    slot.addBytes(1, 1)
    book.commit(book.plan(['bob']))
    book.commit(book.plan(['bob', 'carol']))
    expect([...book.share.slots.values()]).not.toContain(2)
    slot.give('tunnels')
    book.commit(book.plan(['bob', 'carol', 'dave']))
    expect(book.share.slots.get('dave')).toBe(2)
    expect(slotOf(book.share, 'dave').bytes()).toEqual({ uplink: 0n, downlink: 0n })
  })

  it('a user who comes back finds what is still held', () => {
    const book = new SlotBook(1)
    book.commit(book.plan(['alice']))
    alice(book.share).take('tunnels', 1)
    book.commit(book.plan(['bob']))
    book.commit(book.plan(['alice', 'bob']))
    expect(alice(book.share).take('tunnels', 1)).toBe(false)
  })

  it('a plan that is not carried out changes nothing', () => {
    const book = new SlotBook(1)
    book.commit(book.plan(['alice']))
    alice(book.share).take('tunnels', 1)
    book.plan(['bob'])
    expect([...book.share.slots]).toEqual([['alice', 2]])
    book.commit(book.plan(['alice', 'bob']))
    expect(alice(book.share).total('tunnels')).toBe(1)
  })

  it('there are as many slots as users, over several pages', () => {
    const book = new SlotBook(2)
    const users = Array.from({ length: 2 * PAGE_SLOTS }, (_, index) => `user-${index}`)
    book.commit(book.plan(['alice']))
    const lane = new Ledger(book.share, 1)
    const before = lane.of('alice')
    const plan = book.plan([...users, 'alice'])
    book.commit(plan)
    lane.adopt(plan)
    for (const user of users) expect(lane.of(user).take('tunnels', 1)).toBe(true)
    expect(before.take('tunnels', 1)).toBe(true)
    expect(lane.of('alice').take('tunnels', 1)).toBe(false)
    expect(() => lane.of('nobody')).toThrow('without a slot')
  })
})
