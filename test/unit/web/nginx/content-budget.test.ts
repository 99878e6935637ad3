/**
 * A stranger whose streams had no window made the site hold 80 KiB for each: 12 connections took a gigabyte. A plain
 * limit would have let him keep the site from everyone else, so the memory is shared by address.
 */
import { expect, it } from 'vitest'
import { Counters } from '../../../../src/counters.ts'
import { ContentBudget } from '../../../../src/web/nginx/content-budget.ts'

const PIECE = 65_536
const MEBIBYTE = 1_048_576
const MAX_BYTES = 32 * MEBIBYTE

/** Takes pieces for `address` until one must wait; says how many bytes there were. */
function fill(budget: ContentBudget, address: string): number {
  let bytes = 0
  while (budget.open(address).take(PIECE)) bytes += PIECE
  return bytes
}

it('an address that takes nothing holds half of the memory at most, and the next a half of the rest', () => {
  const budget = new ContentBudget(new Counters(), MAX_BYTES)
  expect([fill(budget, '9.9.9.1'), fill(budget, '9.9.9.2')]).toEqual([16 * MEBIBYTE, 8 * MEBIBYTE])
})

it('an address always gets two pieces, and a /64 counts as one address', () => {
  const budget = new ContentBudget(new Counters(), MAX_BYTES)
  for (let i = 0; i < 30; i++) fill(budget, `9.9.9.${i}`)
  expect(fill(budget, '2620:fe::1')).toBe(2 * PIECE)
  expect(fill(budget, '2620:fe::2')).toBe(0)
})

it('answers without room get it one after the other when earlier ones are done, and too many are refused', () => {
  const counters = new Counters()
  const budget = new ContentBudget(counters, MAX_BYTES)
  const first = budget.open('9.9.9.1')
  expect(first.take(PIECE)).toBe(true)
  fill(budget, '9.9.9.1')
  const turns: number[] = []
  const places = Array.from({ length: 1025 }, (_, index) => {
    const place = budget.open('9.9.9.1')
    const queued = place.queue(PIECE, () => turns.push(index))
    expect(queued).toBe(index < 1024)
    return place
  })
  expect(counters.read('decoy_waiting')).toBe(1024)
  // The first in line has gone meanwhile.
  places[0]?.release()
  first.release()
  expect(turns).toEqual([1])
  places[1]?.release()
  expect(turns).toEqual([1, 2])
  for (const place of places) place.release()
  expect(counters.read('decoy_waiting')).toBe(0)
  expect(counters.read('decoy_held_bytes')).toBe(16 * MEBIBYTE - PIECE)
})

it('room that one address gives back goes to others that wait as well', () => {
  const budget = new ContentBudget(new Counters(), MAX_BYTES)
  const held = Array.from({ length: 256 }, () => budget.open('9.9.9.1'))
  expect(held.filter((place) => !place.take(PIECE))).toEqual([])
  fill(budget, '9.9.9.2')
  let turns = 0
  expect(budget.open('9.9.9.2').queue(PIECE, () => turns++)).toBe(true)
  for (const place of held) place.release()
  expect(turns).toBe(1)
})
