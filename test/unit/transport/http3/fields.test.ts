import { describe, expect, test } from 'vitest'
import {
  composeResponse,
  isOversized,
  isTrailerSection,
  parseRequestHead,
} from '../../../../src/transport/http3/fields.ts'

const section = (...fields: [string, string][]): { name: string; value: string }[] =>
  fields.map(([name, value]) => ({ name, value }))

describe('parseRequestHead', () => {
  test('parseRequestHead joins repeated fields, cookies with semicolons', () => {
    const head = parseRequestHead(
      section(
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        ['x', '1'],
        ['cookie', 'a=1'],
        ['x', '2'],
        ['cookie', 'b=2'],
      ),
    )
    expect(head?.headers).toEqual({ x: '1, 2', cookie: 'a=1; b=2' })
  })

  test('parseRequestHead takes the host where there is no authority', () => {
    const head = parseRequestHead(
      section([':method', 'GET'], [':scheme', 'https'], [':path', '/x'], ['host', 'vpn.test']),
    )
    expect(head).toMatchObject({ method: 'GET', authority: 'vpn.test', path: '/x' })
  })

  test('parseRequestHead knows the declared length', () => {
    const fields = section([':method', 'POST'], [':scheme', 'https'], [':path', '/'], [':authority', 'a'])
    expect(parseRequestHead([...fields, { name: 'content-length', value: '12' }])?.contentBytes).toBe(12)
    expect(parseRequestHead([...fields, { name: 'content-length', value: '1, 1' }])).toBeUndefined()
    expect(parseRequestHead([...fields, { name: 'content-length', value: '-1' }])).toBeUndefined()
  })

  test('parseRequestHead is not impressed by names of Object', () => {
    const head = parseRequestHead(
      section([':method', 'CONNECT'], [':authority', 'a:1'], ['__proto__', 'x'], ['constructor', 'y']),
    )
    expect(head?.headers.constructor).toBe('y')
    expect(({} as Record<string, unknown>).x).toBeUndefined()
  })
})

test('trailers have no pseudo-headers', () => {
  expect(isTrailerSection(section(['x-sum', '1']))).toBe(true)
  expect(isTrailerSection(section([':path', '/']))).toBe(false)
})

test('field sections have a ceiling in bytes and in fields', () => {
  expect(isOversized(section(['x', 'y'.repeat(60_000)]))).toBe(false)
  expect(isOversized(section(['x', 'y'.repeat(66_000)]))).toBe(true)
  expect(isOversized(Array.from({ length: 200 }, () => ({ name: 'x', value: 'y' })))).toBe(true)
})

test('responses have lower-case names, lists as repeated fields, and nothing about connections', () => {
  expect(
    composeResponse(407, {
      'Proxy-Authenticate': 'Basic',
      'set-cookie': ['a=1', 'b=2'],
      connection: 'close',
    }),
  ).toEqual(
    section(
      [':status', '407'],
      ['proxy-authenticate', 'Basic'],
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
    ),
  )
})
