import { describe, expect, it } from 'vitest'
import { pickFields } from '../../../../src/transport/kept-fields.ts'
import { EmptyName, HeadTooLarge, RequestHead } from '../../../../src/transport/http2/request-head.ts'

type Fields = readonly (readonly [string, string])[]

const METHOD = [':method', 'GET'] as const
const SCHEME = [':scheme', 'https'] as const
const PATH = [':path', '/a?b'] as const
const AUTHORITY = [':authority', 'host.example:443'] as const
const GET: Fields = [METHOD, SCHEME, PATH, AUTHORITY]
const CONNECT: Fields = [[':method', 'CONNECT'], AUTHORITY]

function headOf(fields: Fields, endsStream = false): RequestHead {
  const head = new RequestHead(65_536)
  for (const [name, value] of fields) head.onField(name, value)
  head.finish(endsStream)
  return head
}

/** `fine`, `broken`, or the status of the refusal. */
function verdictOf(fields: Fields, endsStream = false): string {
  const { isBroken, refusal } = headOf(fields, endsStream)
  return isBroken ? 'broken' : String(refusal ?? 'fine')
}

const without = (name: string): Fields => GET.filter(([own]) => own !== name)
const instead = (name: string, value: string): Fields =>
  GET.map((field) => (field[0] === name ? [name, value] : field))

const CASES: [string, string, Fields][] = [
  ['a GET', 'fine', GET],
  ['pseudo-header fields in another order', 'fine', [AUTHORITY, PATH, SCHEME, METHOD]],
  ['pseudo-header fields after others', 'fine', [['accept', '*/*'], ...GET]],
  ['a CONNECT', 'fine', CONNECT],
  ['a host instead of an authority', 'fine', [...without(':authority'), ['host', 'host.example']]],
  ['no method', '400', without(':method')],
  ['no scheme', '400', without(':scheme')],
  ['no path', '400', without(':path')],
  ['no authority', '400', without(':authority')],
  ['no field but the method', '400', [METHOD]],
  ['no field', '400', []],
  ['an empty method', '400', instead(':method', '')],
  ['an empty scheme', '400', instead(':scheme', '')],
  ['an empty path', '400', instead(':path', '')],
  ['an empty authority', '400', instead(':authority', '')],
  ['a method in lower case', '400', instead(':method', 'get')],
  ['a method with a space', '400', instead(':method', 'GET /')],
  ['a method of letters, minus and underscore', 'fine', instead(':method', 'M-SEARCH_X')],
  ['a scheme that begins with a digit', '400', instead(':scheme', '1https')],
  ['a scheme with a colon', '400', instead(':scheme', 'https:')],
  ['a scheme in upper case', 'fine', instead(':scheme', 'HTTPS')],
  ['a path without slash', '400', instead(':path', 'a')],
  ['an asterisk', '400', instead(':path', '*')],
  ['an absolute path', '400', instead(':path', 'https://host.example/')],
  ['two methods', '400', [...GET, METHOD]],
  ['two schemes', '400', [...GET, SCHEME]],
  ['two paths', '400', [...GET, PATH]],
  ['two authorities', '400', [...GET, AUTHORITY]],
  ['authority and host', '400', [...GET, ['host', 'other.example']]],
  ['two hosts', '400', [...without(':authority'), ['host', 'a'], ['host', 'a']]],
  ['an unknown pseudo-header field', '400', [...GET, [':protocol', 'websocket']]],
  ['a status', '400', [...GET, [':status', '200']]],
  ['a colon alone', '400', [...GET, [':', 'x']]],
  [
    'an empty authority in a CONNECT',
    '400',
    [
      [':method', 'CONNECT'],
      [':authority', ''],
    ],
  ],
  ['no authority in a CONNECT', '400', [[':method', 'CONNECT']]],
  ['a scheme in a CONNECT', '405', [...CONNECT, SCHEME]],
  ['a path in a CONNECT', '405', [...CONNECT, PATH]],
  ['upper case in a name', 'broken', [...GET, ['X-a', 'b']]],
  ['upper case in a pseudo-header field', 'broken', [...GET, [':Path', '/']]],
  ['a space in a name', 'broken', [...GET, ['x a', 'b']]],
  ['a colon in a name', 'broken', [...GET, ['x:a', 'b']]],
  ['a second colon in a pseudo-header field', 'broken', [...GET, ['::path', 'b']]],
  ['a line feed in a name', 'broken', [...GET, ['x\na', 'b']]],
  ['NUL in a name', 'broken', [...GET, ['x\0', 'b']]],
  ['DEL in a name', 'broken', [...GET, ['x\x7f', 'b']]],
  ['a line feed in a value', 'broken', [...GET, ['x', 'a\nb: c']]],
  ['a carriage return in a value', 'broken', [...GET, ['x', 'a\rb']]],
  ['NUL in a value', 'broken', [...GET, ['x', 'a\0']]],
  ['a line feed in the path', 'broken', instead(':path', '/\r\nx: y')],
  ['a line feed in the authority', 'broken', instead(':authority', 'a\nb')],
  ['a tab in a value', 'fine', [...GET, ['x', 'a\tb']]],
  ['a byte above ASCII in a value', 'fine', [...GET, ['x', 'a\xffb']]],
  ['a name that is no token', 'fine', [...GET, ['x(', 'b']]],
  ['transfer-encoding chunked', 'fine', [...GET, ['transfer-encoding', 'Chunked']]],
  ['another transfer-encoding', '501', [...GET, ['transfer-encoding', 'gzip, chunked']]],
  ['two equal lengths', '400', [...GET, ['content-length', '5'], ['content-length', '5']]],
  ['two lengths in one field', '400', [...GET, ['content-length', '5, 5']]],
  ['a length with a sign', '400', [...GET, ['content-length', '+5']]],
  ['a negative length', '400', [...GET, ['content-length', '-5']]],
  ['a length in hexadecimal', '400', [...GET, ['content-length', '0x5']]],
  ['a length with a space', '400', [...GET, ['content-length', ' 5']]],
  ['an empty length', '400', [...GET, ['content-length', '']]],
  ['a length', 'fine', [...GET, ['content-length', '5']]],
  ['1000 fields', 'fine', [...GET, ...Array.from({ length: 1000 }, () => ['a', 'b'] as const)]],
  ['1001 fields', '400', [...GET, ...Array.from({ length: 1001 }, () => ['a', 'b'] as const)]],
]

describe('RequestHead, malformed', () => {
  it.each(CASES)('a head with %s is %s', (_, verdict, fields) => {
    expect(verdictOf(fields)).toBe(verdict)
  })

  it('a head that ends its stream has no content', () => {
    expect(verdictOf([...GET, ['content-length', '5']], true)).toBe('400')
    expect(verdictOf([...GET, ['content-length', '0']], true)).toBe('fine')
  })

  it('the first reason for a refusal counts', () => {
    expect(verdictOf([...GET, ['transfer-encoding', 'gzip'], METHOD])).toBe('501')
    expect(verdictOf([METHOD, ...GET, ['transfer-encoding', 'gzip']])).toBe('400')
  })

  it('what was asked for is kept as it was sent', () => {
    const { method, scheme, path, authority, fields } = headOf([...GET, ['accept', '*/*']])
    expect({ method, scheme, path, authority, fields: { ...fields } }).toEqual({
      method: 'GET',
      scheme: 'https',
      path: '/a?b',
      authority: 'host.example:443',
      fields: { accept: '*/*' },
    })
  })

  it('repeated fields are joined, cookies by semicolons', () => {
    const { fields } = headOf([
      ...GET,
      ['a', '1'],
      ['cookie', 'x=1'],
      ['a', '2'],
      ['cookie', 'y=2'],
      ['a', ''],
    ])
    expect({ ...fields }).toEqual({ a: '1, 2, ', cookie: 'x=1; y=2' })
  })

  it('fields of a connection get no further', () => {
    const names = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']
    const { fields } = headOf([
      ...GET,
      ...names.map((name) => [name, 'chunked'] as const),
      ['te', 'trailers'],
    ])
    expect({ ...fields }).toEqual({ te: 'trailers' })
  })

  it('no field is taken for one of an object', () => {
    const { fields } = headOf([...GET, ['constructor', 'y']])
    expect(Object.keys(fields)).toEqual(['constructor'])
    expect(headOf(GET).fields['constructor']).toBeUndefined()
  })

  it('all fields but some are dropped', () => {
    const head = headOf([...GET, ['a', '1'], ['b', '2']])
    expect(pickFields(head.fields, ['b', 'c'])).toEqual({ b: '2' })
    expect(pickFields(head.fields, [])).toEqual({})
  })

  it('a head that is too large ends the decoding, broken or not', () => {
    const head = new RequestHead(10)
    head.onField('a\n', '12345678')
    expect(head.isBroken).toBe(true)
    expect(() => head.onField('', 'b')).toThrow(HeadTooLarge)
  })

  it('a field without a name ends the decoding', () => {
    expect(() => new RequestHead(10).onField('', 'b')).toThrow(EmptyName)
  })
})
