import { posix } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeSitePath, parseSitePath } from '../../../src/wire/site-path.ts'

describe('parseSitePath', () => {
  it.each([
    ['/', '/', undefined],
    ['/a/b.html?x=1&y=%2e', '/a/b.html', 'x=1&y=%2e'],
    ['/a?', '/a', ''],
    ['/a#b?c', '/a', undefined],
    ['//a///b//', '/a/b/', undefined],
    ['/a/./b/.', '/a/b/', undefined],
    ['/a/../b', '/b', undefined],
    ['/a/..', '/', undefined],
    ['/a%2f..%2Fb', '/b', undefined],
    ['/%2e%2E/', undefined, undefined],
    ['/a/%2e%2e/%2e%2e/etc', undefined, undefined],
    ['/..', undefined, undefined],
    ['/a%5c..%5cb', '/a\\..\\b', undefined],
    ['/%252e%252e/a', '/%2e%2e/a', undefined],
    ['/a%3fb%23c', '/a?b#c', undefined],
    ['/%c3%bc', '/\u00c3\u00bc', undefined],
    ['/a%00.html', undefined, undefined],
    ['/%', undefined, undefined],
    ['/%g0', undefined, undefined],
    ['/a b', undefined, undefined],
    ['/a\u007f', undefined, undefined],
    ['/\u0101', undefined, undefined],
    ['a', undefined, undefined],
    ['*', undefined, undefined],
    ['', undefined, undefined],
  ])('parseSitePath reads %s as nginx does', (target, path, query) => {
    expect(parseSitePath(target)).toEqual(path === undefined ? undefined : { path, query })
  })

  /** The pieces that attacks are made of, in any order. */
  const piece = fc.constantFrom(
    '/',
    '..',
    '.',
    '%2e',
    '%2F',
    '%5c',
    '\\',
    'a',
    '%00',
    '%',
    '%25',
    '?',
    ';',
    '%c0%ae',
  )
  const attack = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`)

  it('parseSitePath never yields a path that leads out of the root', () => {
    fc.assert(
      fc.property(attack, (target) => {
        const path = parseSitePath(target)?.path
        if (path === undefined) return
        expect(path.split('/').some((segment) => segment === '..' || segment === '.')).toBe(false)
        expect(path.includes('\0')).toBe(false)
        expect(posix.join('/site', path).startsWith('/site/') || posix.join('/site', path) === '/site/').toBe(
          true,
        )
      }),
      { numRuns: 2000 },
    )
  })

  it('parseSitePath takes back what encodeSitePath makes of a path', () => {
    fc.assert(
      fc.property(attack, (target) => {
        const path = parseSitePath(target)?.path
        if (path !== undefined) expect(parseSitePath(encodeSitePath(path))?.path).toBe(path)
      }),
    )
  })
})
