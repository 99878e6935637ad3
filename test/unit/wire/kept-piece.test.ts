import { describe, expect, it } from 'vitest'
import { keptPiece } from '../../../src/wire/kept-piece.ts'

const RECORD_BYTES = 16_384

describe('keptPiece', () => {
  it('a small part of a record is copied, and keeps nothing else alive', () => {
    const record = Buffer.alloc(RECORD_BYTES, 'r')
    const kept = keptPiece(record.subarray(100, 101))
    expect(kept.toString()).toBe('r')
    expect(kept.buffer.byteLength).toBe(1)
  })

  it('what is most of its memory is not copied', () => {
    const record = Buffer.alloc(RECORD_BYTES)
    for (const piece of [record, record.subarray(9), record.subarray(0, RECORD_BYTES / 4)])
      expect(keptPiece(piece)).toBe(piece)
    const small = Buffer.alloc(40).subarray(9)
    expect(keptPiece(small)).toBe(small)
  })
})
