import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HpackTable, staticIndexOf } from '../../../../src/wire/http2/hpack-table.ts'
import vectors from '../../../vectors/hpack.json' with { type: 'json' }
import type { Field } from './slow-hpack.ts'

const FIRST_DYNAMIC = 62

/** The dynamic entries, newest first. */
function entriesOf(table: HpackTable): Field[] {
  const entries: Field[] = []
  for (let index = FIRST_DYNAMIC; ; index += 1) {
    try {
      entries.push([table.nameAt(index), table.valueAt(index)])
    } catch (error) {
      expect(error).toMatchObject({ code: 'malformed', fault: 'bad_index' })
      return entries
    }
  }
}

describe('the tables of HPACK', () => {
  it('the static table is that of RFC 7541 appendix A', () => {
    const table = new HpackTable(4096)
    const found = vectors.staticTable.map((_, at) => [table.nameAt(at + 1), table.valueAt(at + 1)])
    expect(found).toEqual(vectors.staticTable)
    expect([staticIndexOf(':status'), staticIndexOf('www-authenticate')]).toEqual([8, 61])
    expect(staticIndexOf('x-other')).toBeUndefined()
  })

  it('there is no index 0, and none behind the oldest entry', () => {
    const table = new HpackTable(4096)
    for (const index of [0, 62, 63, 2 ** 21]) {
      expect(() => table.nameAt(index)).toThrow('bad index')
      expect(() => table.valueAt(index)).toThrow('bad index')
    }
    table.insert('a', 'b')
    expect(entriesOf(table)).toEqual([['a', 'b']])
  })

  it('an entry counts 32 bytes more than its name and value', () => {
    const table = new HpackTable(2 * 34)
    for (const name of ['a', 'b']) table.insert(name, '1')
    expect(entriesOf(table)).toHaveLength(2)
    table.insert('c', '12')
    expect(entriesOf(table)).toEqual([['c', '12']])
  })

  it('an entry larger than the table empties it', () => {
    const table = new HpackTable(100)
    table.insert('a', 'b')
    table.insert('c', 'x'.repeat(67))
    expect(entriesOf(table)).toEqual([['c', 'x'.repeat(67)]])
    table.insert('c', 'x'.repeat(68))
    expect(entriesOf(table)).toEqual([])
    table.insert('d', 'e')
    expect(entriesOf(table)).toEqual([['d', 'e']])
  })

  it('a table of 4096 bytes holds 128 empty fields', () => {
    const table = new HpackTable(4096)
    for (let count = 0; count < 1000; count += 1) table.insert('', '')
    expect(entriesOf(table)).toHaveLength(128)
  })

  it('the dynamic table behaves as a list with the newest first', () => {
    const change = fc.oneof(
      { weight: 12, arbitrary: fc.tuple(fc.string({ maxLength: 30 }), fc.string({ maxLength: 60 })) },
      { weight: 1, arbitrary: fc.nat(2000) },
    )
    fc.assert(
      fc.property(fc.array(change, { maxLength: 150 }), (changes) => {
        const table = new HpackTable(2000)
        let [list, maxBytes]: [Field[], number] = [[], 2000]
        for (const next of changes) {
          if (typeof next === 'number') {
            maxBytes = next
            table.resize(next)
          } else {
            list = [next, ...list]
            table.insert(...next)
          }
          let room = maxBytes
          // The first that does not fit takes all behind it with it.
          const end = list.findIndex(([name, value]) => (room -= name.length + value.length + 32) < 0)
          if (end >= 0) list = list.slice(0, end)
        }
        expect(entriesOf(table)).toEqual(list)
      }),
    )
  })
})
