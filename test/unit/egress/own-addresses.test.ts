/**
 * Addresses come and go while the endpoint runs (DHCP, a floating address), so a list that was read once becomes
 * outdated.
 */
import { expect, it } from 'vitest'
import { OwnAddresses, readOwnAddresses } from '../../../src/egress/own-addresses.ts'
import { FakeClock } from '../../support/fake-clock.ts'

it('an address of the machine that has come or gone is noticed without reading for each question', () => {
  const clock = new FakeClock()
  let now = ['9.9.9.1']
  let reads = 0
  const own = new OwnAddresses({
    clock,
    read: () => {
      reads++
      return now
    },
  })
  for (let i = 0; i < 100; i++) expect(own.has('9.9.9.1')).toBe(true)
  now = ['9.9.9.2']
  clock.advance(4999)
  expect([own.has('9.9.9.1'), reads]).toEqual([true, 1])
  clock.advance(1)
  expect([own.has('9.9.9.1'), own.has('9.9.9.2'), reads]).toEqual([false, true, 2])
})

it('addresses of the machine stay known while the system cannot say which there are', () => {
  const clock = new FakeClock()
  let list: string[] | undefined
  const own = new OwnAddresses({
    clock,
    read: () => {
      if (list === undefined) throw new Error('no descriptor is left')
      return list
    },
  })
  // Nothing is known yet: no answer would be right, now or at the next question.
  expect(() => own.has('9.9.9.1')).toThrow()
  expect(() => own.has('9.9.9.1')).toThrow()
  list = ['9.9.9.1']
  expect(own.has('9.9.9.1')).toBe(true)
  list = undefined
  clock.advance(5000)
  expect([own.has('9.9.9.1'), own.has('9.9.9.2')]).toEqual([true, false])
  list = ['9.9.9.2']
  clock.advance(5000)
  expect([own.has('9.9.9.1'), own.has('9.9.9.2')]).toEqual([false, true])
})

it('addresses of the machine are compared as canonical texts without zones', () => {
  const own = new OwnAddresses({ clock: new FakeClock(), read: () => ['2620:FE:0:0::1', 'fe80::1%eth0'] })
  expect([own.has('2620:fe::1'), own.has('fe80::1')]).toEqual([true, true])
})

it('addresses of the machine are read from the system', () => {
  expect(readOwnAddresses()).toContain('127.0.0.1')
})

it('addresses of the machine may be ranges', () => {
  const read = (): string[] => ['9.9.0.0/16', '2620:fe::/64', '9.10.0.1/32']
  const own = new OwnAddresses({ clock: new FakeClock(), read })
  expect(['9.9.255.1', '9.10.0.1', '2620:fe::5'].filter((address) => !own.has(address))).toEqual([])
  expect(['9.10.0.2', '9.8.9.9', '2620:fe:0:1::5'].filter((address) => own.has(address))).toEqual([])
})
