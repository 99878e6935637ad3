import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ContentDecoder } from '../../../src/wire/http1/content.ts'
import type { ContentState } from '../../../src/wire/http1/content.ts'

interface Decoded {
  readonly state: ContentState
  readonly content: string
  /** What was left over. */
  readonly rest: string
}

const CHUNKED = { kind: 'chunked' } as const

function decode(pieces: readonly Buffer[], decoder = new ContentDecoder(CHUNKED)): Decoded {
  let content = ''
  let rest = ''
  for (const piece of pieces) {
    const taken = decoder.push(piece, (part) => (content += part.toString('latin1')))
    rest += piece.toString('latin1', taken)
  }
  return { state: decoder.state, content, rest }
}

/** The slow reading of a whole text (RFC 9112 section 7.1, with LF for CRLF). */
function slowDecode(text: string): Decoded {
  let content = ''
  let rest = text
  for (;;) {
    const line = /^([0-9a-f]{1,12})(?:[; \t][^\r\n]*)?\r?\n/i.exec(rest)
    if (line === null) throw new Error('not for this decoder')
    rest = rest.slice(line[0].length)
    const size = parseInt(line[1] ?? '', 16)
    if (size === 0) break
    content += rest.slice(0, size)
    rest = rest.slice(size).replace(/^\r?\n/, '')
  }
  const trailers = /^(?:[^\r\n]+\r?\n)*\r?\n/.exec(rest)
  return { state: 'done', content, rest: rest.slice(trailers?.[0].length) }
}

const CASES: [string, ContentState, string][] = [
  ['0\r\n\r\n', 'done', ''],
  ['3\r\na=b\r\n0\r\n\r\n', 'done', 'a=b'],
  ['3\na=b\n0\n\n', 'done', 'a=b'],
  ['003;x="y"\r\na=b\r\n00 z\r\nTrailer: 1\r\nX: 2\r\n\r\n', 'done', 'a=b'],
  ['A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n', 'done', '01234567890123456789'],
  ['3\t\r\na=b', 'more', 'a=b'],
  ['3\r\na=bx', 'malformed', 'a=b'],
  ['3\r\na=b\rx', 'malformed', 'a=b'],
  ['3\rx', 'malformed', ''],
  ['zz\r\n', 'malformed', ''],
  ['-1\r\n', 'malformed', ''],
  ['0x3\r\n', 'malformed', ''],
  ['\r\n', 'malformed', ''],
  ['0\r\n\rx', 'malformed', ''],
  ['0\r\na\rx', 'malformed', ''],
  ['0;\rx', 'malformed', ''],
  ['fffffffffffffffff', 'malformed', ''],
  [`1;${'x'.repeat(20_000)}`, 'malformed', ''],
  ['0'.repeat(20_000), 'malformed', ''],
  [`0\r\n${'x: y\r\n'.repeat(5000)}`, 'malformed', ''],
]

/** With a name of bearable length. */
const NAMED = CASES.map(([text, ...rest]) => [text.slice(0, 50), text, ...rest] as const)

describe('ContentDecoder', () => {
  it.each(NAMED)('the content decoder reads the chunks %j', (_, text, state, content) => {
    expect(decode([Buffer.from(text)])).toMatchObject({ state, content })
  })

  it.each(CASES.filter(([text]) => text.length < 100))(
    'the content decoder reads the same wherever the chunks are split: %j',
    (text, state, content) => {
      const bytes = Buffer.from(`${text}rest`)
      const whole = decode([bytes])
      for (let split = 0; split <= bytes.length; split++)
        expect(decode([bytes.subarray(0, split), bytes.subarray(split)])).toEqual(whole)
      expect(decode(Array.from(bytes, (byte) => Buffer.from([byte])))).toEqual(whole)
      if (state === 'done') expect(whole).toEqual({ state, content, rest: 'rest' })
    },
  )

  it('the content decoder agrees with a slow one on any chunks', () => {
    const ending = fc.constantFrom('\r\n', '\n')
    const extension = fc.constantFrom('', ';a', ' ', '\tb=";"')
    const chunk = fc
      .tuple(fc.string({ minLength: 1, maxLength: 40, unit: 'binary-ascii' }), extension, ending, ending)
      .map(([data, after, first, last]) => `${data.length.toString(16)}${after}${first}${data}${last}`)
    const message = fc
      .tuple(fc.array(chunk), extension, ending, fc.array(fc.constantFrom('a: b\r\n', 'c\n')), ending)
      .map(([chunks, after, first, trailers, last]) =>
        [...chunks, `0${after}${first}`, ...trailers, last, 'GET / HTTP/1.1'].join(''),
      )
    fc.assert(
      fc.property(message, fc.array(fc.nat({ max: 200 })), (text, cuts) => {
        const bytes = Buffer.from(text, 'latin1')
        const bounds = [0, ...cuts.filter((at) => at < bytes.length).toSorted((a, b) => a - b), bytes.length]
        const pieces = bounds.slice(1).map((end, index) => bytes.subarray(bounds[index], end))
        expect(decode(pieces)).toEqual(slowDecode(text))
      }),
    )
  })

  it('the content decoder counts chunks, not what is around them: a long upload in small ones is sound', () => {
    const decoder = new ContentDecoder(CHUNKED)
    const chunk = Buffer.from('1;x\r\na\r\n')
    for (let count = 0; count < 20_000; count++) decoder.push(chunk, () => {})
    expect(decode([Buffer.from('0\r\n\r\n')], decoder).state).toBe('done')
  })

  it('the content decoder reads content of a known length, and no more', () => {
    const decoder = new ContentDecoder({ kind: 'sized', bytes: 5 })
    expect(decode([Buffer.from('abc')], decoder)).toEqual({ state: 'more', content: 'abc', rest: '' })
    expect(decode([Buffer.from('defg')], decoder)).toEqual({ state: 'done', content: 'de', rest: 'fg' })
  })

  it('the content decoder has nothing to do where there is no content', () => {
    expect(decode([Buffer.from('x')], new ContentDecoder({ kind: 'none' }))).toEqual({
      state: 'done',
      content: '',
      rest: 'x',
    })
  })
})
