import { describe, expect, it } from 'vitest'
import { publicLocation } from '../../../../src/web/proxy/headers.ts'

const ORIGIN = { protocol: 'http:', authority: '127.0.0.1:8080', port: 8080 }

describe('publicLocation', () => {
  it.each([
    ['the name asked for with the origin’s port', 'http://site.example:8080/docs/', '/docs/'],
    ['the origin’s own address', 'http://127.0.0.1:8080/docs/?a=b#c', '/docs/?a=b#c'],
    ['no path', 'http://site.example:8080', '/'],
    ['a query only', 'HTTP://site.example:8080?a', '/?a'],
  ])('publicLocation hides %s', (_, location, expected) => {
    expect(publicLocation(location, 'site.example', ORIGIN)).toBe(expected)
    expect(publicLocation(location, 'site.example:8443', ORIGIN)).toBe(expected)
  })

  it.each([
    '/docs/',
    '//other.example/',
    'https://site.example:8080/',
    'http://site.example/',
    'http://other.example:8080/',
    'http://site.example:80801/',
    'http://site.example:8080.other.example/',
    'http://site.example:8080@other.example/',
  ])('publicLocation leaves %s', (location) => {
    expect(publicLocation(location, 'site.example', ORIGIN)).toBe(location)
  })
})
