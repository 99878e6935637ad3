import { expect, it } from 'vitest'
import { LARGE_SLAB_BYTES, SMALL_SLAB_BYTES, SlabPool } from '../../../src/transport/slab-pool.ts'

const SCARCE_BYTES = 67_108_864
const LARGE_COUNT = 128

it('blocks are scarce while more than 64 MiB of them are in use', () => {
  const pool = new SlabPool()
  const slabs = Array.from({ length: LARGE_COUNT }, () => pool.take(true))
  expect(slabs.every(({ length }) => length === LARGE_SLAB_BYTES)).toBe(true)
  const left = SCARCE_BYTES - LARGE_COUNT * LARGE_SLAB_BYTES
  for (let bytes = SMALL_SLAB_BYTES; bytes <= left; bytes += SMALL_SLAB_BYTES) slabs.push(pool.take(false))
  expect(pool.isScarce).toBe(false)
  const last = pool.take(true)
  expect(last.length).toBe(SMALL_SLAB_BYTES)
  expect(pool.isScarce).toBe(true)
  pool.discard(last)
  expect(pool.isScarce).toBe(false)
  for (const slab of slabs) pool.give(slab)
  expect(pool.isScarce).toBe(false)
})
