import { describe, expect, it } from 'vitest'
import { checkPreconditions, makeValidators, rangeApplies } from '../../../../src/web/nginx/preconditions.ts'

const FILE = makeValidators(Date.UTC(1994, 10, 6, 8, 49, 37, 900), 31)
const DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'

describe('preconditions', () => {
  it('validators are made of whole seconds', () => {
    expect(FILE).toEqual({ etag: '"2ebc98a1-1f"', modifiedSecs: 784_111_777 })
  })

  it.each([
    [{}, 200],
    [{ 'if-modified-since': DATE }, 304],
    [{ 'if-modified-since': 'Sunday, 06-Nov-94 08:49:37 GMT' }, 304],
    [{ 'if-modified-since': 'Sun Nov  6 08:49:37 1994' }, 304],
    [{ 'if-modified-since': 'Sun, 06 Nov 1994 08:49:38 GMT' }, 200],
    [{ 'if-modified-since': '1994-11-06T08:49:37Z' }, 200],
    [{ 'if-none-match': FILE.etag }, 304],
    [{ 'if-none-match': `"x" , W/${FILE.etag}` }, 304],
    [{ 'if-none-match': '*' }, 304],
    [{ 'if-none-match': '"x"' }, 200],
    [{ 'if-none-match': '"x"', 'if-modified-since': DATE }, 200],
    [{ 'if-match': `W/${FILE.etag}` }, 412],
    [{ 'if-match': FILE.etag }, 200],
    [{ 'if-unmodified-since': DATE }, 200],
    [{ 'if-unmodified-since': 'Sun, 06 Nov 1994 08:49:36 GMT' }, 412],
    [{ 'if-unmodified-since': 'never' }, 412],
  ])('preconditions of %o give %i', (headers, status) => {
    expect(checkPreconditions(headers as Record<string, string>, FILE)).toBe(status)
  })

  it.each([
    [undefined, true],
    [FILE.etag, true],
    [`W/${FILE.etag}`, false],
    [DATE, true],
    ['x', false],
  ])('preconditions take if-range %s as nginx does', (value, applies) => {
    expect(rangeApplies(value, FILE)).toBe(applies)
  })
})
