import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OFFICIAL_FILES } from '../../../src/config/official-files.ts'
import { Findings, readFields } from '../../../src/config/read.ts'
import {
  bool,
  choice,
  defaultsOf,
  int,
  list,
  optionalTable,
  seconds,
  table,
  tables,
  text,
  type Fields,
} from '../../../src/config/schema.ts'
import { editDistance, nearest } from '../../../src/config/nearest-key.ts'

const fields = {
  flag: bool({ default: false, doc: 'A flag.' }),
  count: int({ default: 3, min: 1, max: 10, doc: 'A count.' }),
  maybe: text({ default: null, doc: 'Perhaps.' }),
  mode: choice(['a', 'b'], { default: 'a', doc: 'A mode.' }),
  names: list(text({ doc: 'A name.' }), { default: [], doc: 'Names.' }),
  inner: table({ wait: seconds({ default: 5, doc: 'A wait.' }) }, { doc: 'Always there.' }),
  extra: optionalTable({ secret: text({ secret: true, doc: 'Needed.' }) }, { doc: 'Perhaps there.' }),
  many: tables({ name: text({ doc: 'Needed.' }) }, { doc: 'Any number.' }),
  soon: int({ default: 1, doc: 'Soon.', status: 'later', aliases: ['early'] }),
  never: bool({ default: true, doc: 'Never.', status: 'ignored' }),
} as const

function read(raw: Record<string, unknown>) {
  const findings = new Findings()
  const value = readFields(fields, raw, 'file', findings)
  return { value, findings, problems: findings.problems.map(({ path, message }) => `${path}: ${message}`) }
}

describe('reading a table', () => {
  it('reading a table fills in every default', () => {
    expect(read({}).value).toEqual({
      flag: false,
      count: 3,
      maybe: null,
      mode: 'a',
      names: [],
      inner: { wait: 5 },
      extra: null,
      many: [],
      soon: 1,
      never: true,
    })
  })

  it('reading a table has the same defaults for a table that no file mentions', () => {
    const { extra: _, ...rest } = fields
    expect(defaultsOf(table(rest, { doc: 'All but one.' }))).toEqual({ ...read({}).value, extra: undefined })
    const required = table({ name: text({ doc: 'Needed.' }) }, { doc: 'Not to be left out.' })
    expect(() => defaultsOf(required)).toThrow('Needed.')
  })

  it('reading a table reports every wrong value with its path and what is allowed', () => {
    const { problems } = read({
      flag: 1n,
      count: 11n,
      maybe: '',
      mode: 'c',
      names: ['x', 3n],
      inner: { wait: -1n },
      extra: 'x',
      many: [{}, 5n],
    })
    expect(problems).toEqual([
      'flag: 1 is not allowed; allowed is true or false',
      'count: 11 is not allowed; allowed is an integer from 1 to 10',
      'maybe: "" is not allowed; allowed is text that is not empty',
      'mode: "c" is not allowed; allowed is "a", "b"',
      'names[1]: 3 is not allowed; allowed is text that is not empty',
      'inner.wait: -1 is not allowed; allowed is an integer of seconds, 1 or more',
      'extra: "x" is not allowed; allowed is a table',
      'many[0].name: is required: text that is not empty',
      'many[1]: 5 is not allowed; allowed is a table',
    ])
  })

  it('reading a table takes no float for an integer', () => {
    expect(read({ count: 3 }).problems).toEqual([
      'count: 3.0 is not allowed; allowed is an integer from 1 to 10',
    ])
  })

  it('reading a table never shows a secret, whatever its type', () => {
    for (const secret of ['', 12_345_678n, ['hunter2'], { hunter2: true }])
      expect(read({ extra: { secret } }).problems).toEqual([
        'extra.secret: the value is not allowed; allowed is text that is not empty',
      ])
  })

  it('reading a table cuts long values', () => {
    expect(read({ mode: 'x'.repeat(500) }).problems[0]?.length).toBeLessThan(150)
  })

  it('reading a table warns of unknown keys with the nearest known one', () => {
    const { findings, problems } = read({ cuont: 3n, inner: { wiat: 1n } })
    expect(problems).toEqual([])
    expect(findings.warnings).toEqual([
      { file: 'file', path: 'cuont', message: 'unknown key, ignored; the nearest known key is count' },
      { file: 'file', path: 'inner.wiat', message: 'unknown key, ignored; the nearest known key is wait' },
    ])
  })

  it('reading a table knows aliases, notes what has no effect, and only when it is set', () => {
    const { value, findings } = read({ early: 9n, never: true })
    expect(value?.soon).toBe(9)
    expect([[...findings.later], [...findings.ignored]]).toEqual([['soon'], ['never']])
    expect(read({ early: 9n, soon: 8n }).findings.warnings[0]?.message).toBe('soon counts, early is ignored')
    expect(read({}).findings.later.size).toBe(0)
  })

  it('reading a table lets no duration exceed what a timer can wait', () => {
    expect(read({ inner: { wait: 10n ** 12n } }).value?.inner.wait).toBe(2_147_483)
  })

  it('reading a table survives whatever TOML can hold', () => {
    const anything = fc.oneof(fc.string(), fc.boolean(), fc.double(), fc.bigInt(), fc.constant(new Date()))
    const raw = fc.dictionary(
      fc.oneof(fc.constantFrom(...Object.keys(fields)), fc.string()),
      fc.oneof(anything, fc.array(anything), fc.dictionary(fc.string(), anything)),
    )
    fc.assert(fc.property(raw, (each) => void read(each)))
  })

  it('reading a table refuses a description whose default is not allowed', () => {
    expect(() => int({ default: 0, min: 1, doc: 'Wrong.' })).toThrow('default 0 is not allowed')
  })
})

describe('the official files', () => {
  it('the official files describe each key in one sentence that ends', () => {
    const docs: string[] = []
    const walk = (table_: Fields) => {
      for (const field of Object.values(table_)) {
        docs.push(field.doc)
        if (field.kind === 'table' || field.kind === 'tables') walk(field.fields)
      }
    }
    for (const file of OFFICIAL_FILES) walk(file.fields)
    expect(docs.length).toBeGreaterThan(100)
    expect(docs.filter((doc) => !/^[A-Z`].*\.$/.test(doc))).toEqual([])
  })
})

describe('the nearest key', () => {
  it('the nearest key weighs by length', () => {
    expect(nearest('listn', ['icmp', 'listen_address'])).toBe('listen_address')
    expect(nearest('tls_client_random', ['cidr', 'action', 'client_random_prefix'])).toBe(
      'client_random_prefix',
    )
    expect(nearest('x', [])).toBeUndefined()
    expect(nearest('culvert', ['main_hosts', 'reverse_proxy_hosts'])).toBeUndefined()
  })

  it('the nearest key measures as the definition says', () => {
    const slow = (a: string, b: string): number => {
      if (a === '' || b === '') return a.length + b.length
      const same = a[0] === b[0] ? 0 : 1
      return Math.min(slow(a.slice(1), b) + 1, slow(a, b.slice(1)) + 1, slow(a.slice(1), b.slice(1)) + same)
    }
    const word = fc.string({ maxLength: 5, unit: fc.constantFrom('a', 'b', 'c') })
    fc.assert(fc.property(word, word, (a, b) => editDistance(a, b) === slow(a, b)))
  })
})
