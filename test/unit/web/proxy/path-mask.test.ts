import { describe, expect, it } from 'vitest'
import { PathMask } from '../../../../src/web/proxy/path-mask.ts'

describe('PathMask', () => {
  const mask = new PathMask('/app')

  it.each([
    '/app',
    '/app/',
    '/app?x=/../',
    '/app?x=a\\b%5c%23',
    '/app/a/b',
    '/apple',
    '/%61pp/',
    '/app/a%20b',
    '/app/a%2Fb',
    '/app/100%25',
    '/app;jsessionid=1A',
    '/app/x;jsessionid=1A.node/y',
    '/app//x',
    '/app/.well-known/a..b/c.',
    '/app/%C3%A9t%C3%A9',
    '/app/%C0-propos',
  ])('the path mask covers %s', (path) => expect(mask.covers(path)).toBe(true))

  it.each([
    '/',
    '/APP/x',
    '/ap',
    '/x/app',
    '//app/x',
    '/%2fapp',
    '/%2561pp',
    '/app/a/../b',
    '/app/./b',
    '/./app',
    '/x/../app/y',
    '/app/..',
    '/app/...',
    '/app/..%20/admin',
    '/app/%20../admin',
    '/app/%2e%2e/admin',
    '/app/%2E./admin',
    '/app%2f..%2fadmin',
    '/app/x/%2f../../admin',
    '/app/..;/admin',
    '/app/..;a=b/admin',
    '/app/..%3b/admin',
    '/app/..%3fx/admin',
    '/app/..%253b/admin',
    '/app/.;/..;/admin',
    '/app\\..\\admin',
    '/app/..%5cadmin',
    '/app/%5cadmin',
    '/app/x%23y',
    '/app/x?y#z',
    '/app/%252e%252e/admin',
    '/app/..%252fadmin',
    '/app/%c0%ae%c0%ae/admin',
    '/app/%e0%80%ae%e0%80%ae/admin',
    '/app/%25u002e%25u002e/admin',
    '/app/%00',
    '/app/%0a',
    '/app/%7f',
    '/app/%zz',
    'http://x/app/',
    '*',
  ])('the path mask does not cover %s', (path) => expect(mask.covers(path)).toBe(false))

  it('the path mask may name a directory, or what must be encoded', () => {
    expect(new PathMask('/app/').covers('/app')).toBe(false)
    expect(new PathMask('/app/').covers('/app/x')).toBe(true)
    expect(new PathMask('/ä b/').covers('/%C3%A4%20b/x')).toBe(true)
    expect(new PathMask('/a%20b/').covers('/a%20b/x')).toBe(true)
    expect(new PathMask('/').covers('/anything')).toBe(true)
  })

  it('the path mask covers nothing that is encoded more often than it looks', () => {
    expect(mask.covers(`/app/%${'25'.repeat(7)}41`)).toBe(true)
    expect(mask.covers(`/app/%${'25'.repeat(20)}41`)).toBe(false)
    expect(mask.covers(`/app/%${'25'.repeat(10_000)}2e`)).toBe(false)
  })
})
