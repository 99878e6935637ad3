import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeBasicAuth, parseBasicAuth } from '../../../src/wire/basic-auth.ts'
import vectors from '../../vectors/wire.json' with { type: 'json' }

const basic = (text: string | Uint8Array): string => `Basic ${Buffer.from(text).toString('base64')}`

describe('Basic credentials', () => {
  it.each(vectors.basic_auth)(
    'Basic credentials are read as the vector $header says',
    ({ username, password, header }) => {
      expect(encodeBasicAuth(username, password)).toBe(header)
      const parsed = parseBasicAuth(header)
      expect(parsed?.username).toBe(username)
      expect(parsed?.password.toString()).toBe(password)
    },
  )

  it.each(['basic', 'BASIC', 'bAsIc', 'Basic  '])('Basic credentials may have the scheme %j', (scheme) => {
    expect(parseBasicAuth(`${scheme} YTpi`)).toMatchObject({ username: 'a' })
  })

  it.each([
    [undefined, 'no header'],
    ['', 'empty'],
    ['Basic', 'scheme only'],
    ['Basic ', 'no credentials'],
    ['Bearer YTpi', 'another scheme'],
    ['BasicYTpi', 'no space'],
    [' Basic YTpi', 'leading space'],
    ['Basic YTpi ', 'trailing space'],
    ['Basic YT pi', 'space inside'],
    ['Basic YTo', 'padding missing'],
    ['Basic YTo==', 'too much padding'],
    ['Basic YTpiYg', 'padding missing twice'],
    ['Basic YTp=', 'bits behind the last byte'],
    ['Basic YTpiYz==', 'bits behind the last byte'],
    ['Basic YTr-_w==', 'URL alphabet'],
    ['Basic YWI=', 'no colon'],
    [basic('a:b\0c'), 'NUL in the password'],
    [basic('a\0:b'), 'NUL in the name'],
    [basic(Uint8Array.of(0xff, 0x3a, 0x62)), 'name not UTF-8'],
    [`Basic ${'YTpi'.repeat(2000)}`, 'too long'],
  ])('Basic credentials give nothing for %j (%s)', (header, _why) => {
    expect(parseBasicAuth(header)).toBeUndefined()
  })

  it('Basic credentials keep any byte of a password but NUL', () => {
    const name = fc.string({ unit: 'grapheme', maxLength: 30 }).filter((text) => !/[:\0]/.test(text))
    const secret = fc.uint8Array({ min: 1, maxLength: 60 })
    fc.assert(
      fc.property(name, secret, (username, password) => {
        const parsed = parseBasicAuth(encodeBasicAuth(username, password))
        expect(parsed?.username).toBe(username)
        expect(parsed?.password.equals(password)).toBe(true)
      }),
    )
  })
})
