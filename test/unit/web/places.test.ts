import { expect, it } from 'vitest'
import { Places } from '../../../src/web/places.ts'
import { openPlaces } from '../../support/lane-share.ts'

it('places are shared by the addresses of a customer, given back, and limited in all', () => {
  const places = new Places({ total: 3, perAddress: 2 }, openPlaces('speedTests'))
  const first = places.take('2001:db8::1')
  expect(typeof first).toBe('function')
  expect(typeof places.take('2001:db8::2')).toBe('function')
  expect(places.take('2001:db8::3')).toBe('address')
  expect(typeof places.take('2001:db8:0:1::1')).toBe('function')
  expect(places.take('192.0.2.1')).toBe('total')
  if (typeof first === 'function') first()
  expect(places.taken).toBe(2)
  expect(typeof places.take('2001:db8::3')).toBe('function')
})
