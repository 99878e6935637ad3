/**
 * What a head that nginx would read differently could do behind us: a field `content_length` is `content-length` to many
 * an application, and a second condition or range that is joined with the first means something else than either.
 */
import { describe, expect, it } from 'vitest'
import { RequestHead } from '../../../../src/transport/http2/request-head.ts'

type Field = readonly [name: string, value: string]

function headOf(fields: readonly Field[]): RequestHead {
  const head = new RequestHead(65_536)
  const pseudo: Field[] = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':authority', 'localhost'],
    [':path', '/'],
  ]
  for (const [name, value] of [...pseudo, ...fields]) head.onField(name, value)
  head.finish(false)
  return head
}

function many(count: number, name: (at: number) => string): Field[] {
  return Array.from({ length: count }, (_, at) => [name(at), '1'])
}

describe('the head of an HTTP/2 request', () => {
  it.each(['content_length', 'a@b', 'x~y', 'caf\u00e9'])('has no field of the name %s', (name) => {
    const head = headOf([[name, '5']])
    expect(head.refusal).toBeUndefined()
    expect({ ...head.fields }).toEqual({})
  })

  it.each(['if-none-match', 'if-range', 'authorization', 'expect', 'transfer-encoding'])(
    'is refused with two fields %s',
    (name) => {
      expect(headOf(many(2, () => name)).refusal).toBeGreaterThanOrEqual(400)
    },
  )

  it('has the first of two fields that are no lists', () => {
    const fields: Field[] = ['range', 'user-agent', 'proxy-authorization'].flatMap((name): Field[] => [
      [name, 'first'],
      [name, 'second'],
    ])
    expect(Object.values(headOf(fields).fields)).toEqual(['first', 'first', 'first'])
  })

  it('is refused with a length and a coding', () => {
    const fields: Field[] = [
      ['transfer-encoding', 'chunked'],
      ['content-length', '5'],
    ]
    expect(headOf(fields.slice(0, 1)).refusal).toBeUndefined()
    expect(headOf(fields).refusal).toBe(400)
    expect(headOf(fields.toReversed()).refusal).toBe(400)
  })

  it('is refused when a visitor says twice where to, not when a client with credentials does', () => {
    const connect = (...fields: Field[]): number | undefined => {
      const head = new RequestHead(65_536)
      const first: Field[] = [
        [':method', 'CONNECT'],
        [':authority', 'a.test:443'],
      ]
      for (const [name, value] of [...first, ...fields]) head.onField(name, value)
      head.finish(false)
      return head.refusal
    }
    const credentials: Field = ['proxy-authorization', 'Basic eA==']
    expect(connect()).toBeUndefined()
    expect(connect(['host', 'a.test:443'])).toBe(400)
    expect(connect(['host', 'a.test:443'], credentials)).toBeUndefined()
    expect(connect(['host', 'b.test:443'], credentials)).toBe(400)
    expect(connect([':path', '/'])).toBe(405)
    expect(connect([':path', '/'], credentials)).toBeUndefined()
  })

  it('has a thousand fields, not counting cookies', () => {
    const fields = many(999, (at) => `x-${at}`)
    expect(headOf([...fields, ...many(50, () => 'cookie')]).refusal).toBeUndefined()
    expect(headOf([...fields, ...many(2, (at) => `y-${at}`)]).refusal).toBe(400)
  })
})
