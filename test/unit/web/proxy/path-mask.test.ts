import { describe, expect, it } from 'vitest'
import { PathMask } from '../../../../src/web/proxy/path-mask.ts'

describe('PathMask', () => {
  const mask = new PathMask('/app')

  it.each([
    '/app',
    '/app/',
    '/app?x=/../',
    '/app/a/b',
    '/apple',
    '/app/a/../b',
    '/x/../app/y',
    '/%61pp/',
    '//app/x',
  ])('the path mask covers %s', (path) => expect(mask.covers(path)).toBe(true))

  it.each([
    '/',
    '/APP/x',
    '/ap',
    '/x/app',
    '/app/../admin',
    '/app/..',
    '/app/%2e%2e/admin',
    '/app/%2E./admin',
    '/app%2f..%2fadmin',
    '/app/x/%2f../../admin',
    '/app/..;/admin',
    '/app/..;a=b/admin',
    '/app/..%3b/admin',
    '/app/..%253b/admin',
    '/app/.;/..;/admin',
    '/app\\..\\admin',
    '/app/..%5cadmin',
    '/app/%252e%252e/admin',
    '/app/..%252fadmin',
    '/app/%00',
    '/app/%zz',
    'http://x/app/',
    '*',
  ])('the path mask does not cover %s', (path) => expect(mask.covers(path)).toBe(false))

  it('the path mask may name a directory, or what must be encoded', () => {
    expect(new PathMask('/app/').covers('/app')).toBe(false)
    expect(new PathMask('/app/').covers('/app/./x')).toBe(true)
    expect(new PathMask('/ä b/').covers('/%C3%A4%20b/x')).toBe(true)
    expect(new PathMask('/a%20b/').covers('/a%20b/x')).toBe(true)
    expect(new PathMask('/').covers('/anything')).toBe(true)
  })
})
