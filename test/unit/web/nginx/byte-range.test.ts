import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRange } from '../../../../src/web/nginx/byte-range.ts'

describe('parseRange', () => {
  it.each([
    ['bytes=0-4', [{ start: 0, end: 5 }]],
    ['bytes=5-', [{ start: 5, end: 15 }]],
    ['bytes=-5', [{ start: 10, end: 15 }]],
    ['bytes=-100', [{ start: 0, end: 15 }]],
    ['BYTES= 0 - 4 ', [{ start: 0, end: 5 }]],
    ['bytes=0-4,20-30', [{ start: 0, end: 5 }]],
    [
      'bytes=9-9,0-0',
      [
        { start: 9, end: 10 },
        { start: 0, end: 1 },
      ],
    ],
    ['bytes=15-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=0-4,', 'unsatisfiable'],
    ['bytes=9007199254740993-', 'unsatisfiable'],
    ['bytes=0-9007199254740993', 'unsatisfiable'],
    ['bytes=', 'whole'],
    ['items=0-4', 'whole'],
    // More than the whole file in total.
    ['bytes=0-,0-', 'whole'],
  ])('parseRange reads %s of 15 bytes as nginx does', (header, expected) => {
    expect(parseRange(header, 15)).toEqual(expected)
  })

  it('parseRange never asks for nothing, for more than there is, or for bytes outside', () => {
    const spec = fc
      .tuple(fc.option(fc.nat(40)), fc.option(fc.nat(40)))
      .map(([a, b]) => `${a ?? ''}-${b ?? ''}`)
    fc.assert(
      fc.property(fc.array(spec, { minLength: 1, maxLength: 6 }), fc.nat(30), (specs, size) => {
        const ranges = parseRange(`bytes=${specs.join(',')}`, size)
        if (typeof ranges === 'string') return
        expect(ranges.length).toBeGreaterThan(0)
        for (const { start, end } of ranges) expect(0 <= start && start < end && end <= size).toBe(true)
        expect(ranges.reduce((sum, { start, end }) => sum + end - start, 0)).toBeLessThanOrEqual(size)
      }),
    )
  })
})
