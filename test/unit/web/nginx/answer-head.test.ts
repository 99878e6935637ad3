import { describe, expect, it } from 'vitest'
import { closesConnection, formatAnswerHead } from '../../../../src/web/nginx/answer-head.ts'

describe('formatAnswerHead', () => {
  it('formatAnswerHead orders and spells the fields as nginx does', () => {
    const headers = {
      etag: '"1-2"',
      'accept-ranges': 'bytes',
      'last-modified': 'Wed, 04 Mar 2026 05:06:07 GMT',
      server: 'nginx',
      'content-length': '2',
      date: 'now',
      connection: 'dropped',
      'set-cookie': ['a=1', 'b=2'],
    }
    expect(formatAnswerHead(206, headers, 'keep-alive')).toEqual({
      reason: '',
      fields: [
        ['Server', 'nginx'],
        ['Date', 'now'],
        ['Content-Length', '2'],
        ['Last-Modified', 'Wed, 04 Mar 2026 05:06:07 GMT'],
        ['Connection', 'keep-alive'],
        ['ETag', '"1-2"'],
        ['Accept-Ranges', 'bytes'],
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
      ].flat(),
    })
  })

  it.each([
    [405, 'Not Allowed'],
    [416, 'Requested Range Not Satisfiable'],
    [302, 'Moved Temporarily'],
    [503, 'Service Temporarily Unavailable'],
    [200, ''],
  ])('formatAnswerHead words %i as nginx does', (status, reason) => {
    expect(formatAnswerHead(status, {}, 'close').reason).toBe(reason)
  })

  it('formatAnswerHead closes after the answers after which nginx closes', () => {
    expect([400, 413, 500].map((status) => closesConnection(status, 'GET'))).toEqual([true, true, true])
    expect([200, 404, 405, 502].map((status) => closesConnection(status, 'PUT'))).toEqual([
      false,
      false,
      false,
      false,
    ])
    expect(closesConnection(405, 'TRACE')).toBe(true)
  })
})
