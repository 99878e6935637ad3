import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  closesConnection,
  formatAnswerHead,
  malformedAnswer,
  refusalOf,
} from '../../../../src/web/nginx/answer-head.ts'
import { HeadReader } from '../../../../src/web/nginx/http-head.ts'
import { encodeAnswer } from '../../../../src/web/nginx/plain-http.ts'

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

describe('malformedAnswer', () => {
  it.each([
    ['FOO / HTTP/1.1\r\nHost: x\r\n\r\n', '405 Not Allowed'],
    ['GET / HTTP/2.0\r\nHost: x\r\n\r\n', '505 HTTP Version Not Supported'],
    ['GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: foo\r\n\r\n', '501 Not Implemented'],
    ['GET / HTTP/1.1\nHost: x\n\n', '400 Bad Request'],
    [`GET /${'a'.repeat(9000)} HTTP/1.1\r\n`, '414 Request-URI Too Large'],
    ['\x00', '400 Bad Request'],
  ])('malformedAnswer answers %j as nginx does', (bytes, status) => {
    const answer = malformedAnswer(Buffer.from(bytes, 'latin1'), 'HPE_INVALID', 0)?.toString('latin1') ?? ''
    expect(answer).toMatch(
      new RegExp(`^HTTP/1.1 ${status}\\r\\nServer: nginx\\r\\nDate: Thu, 01 Jan 1970 00:00:00 GMT\\r\\n`),
    )
    expect(answer).toContain('\r\nConnection: close\r\n')
  })

  it('malformedAnswer has nothing to say about half a head', () => {
    expect(malformedAnswer(Buffer.from('GET / HTTP/1.1\r\nHo'), 'HPE_INVALID_EOF_STATE', 0)).toBeUndefined()
  })
})

describe('refusalOf', () => {
  const head = {
    method: 'GET',
    url: '/',
    httpVersionMajor: 1,
    httpVersionMinor: 1,
    rawHeaders: ['Host', 'x'],
  }

  it.each([
    [{ ...head, rawHeaders: ['Host', 'x', 'Host', 'y'] }, '400 Bad Request'],
    [{ ...head, rawHeaders: [] }, '400 Bad Request'],
    [{ ...head, httpVersionMajor: 2, httpVersionMinor: 0 }, '505 HTTP Version Not Supported'],
    [{ ...head, url: '/../x' }, '400 Bad Request'],
    [{ ...head, url: `/${'a'.repeat(9000)}` }, '414 Request-URI Too Large'],
    [{ ...head, method: 'TRACE' }, '405 Not Allowed'],
    [{ ...head, rawHeaders: ['Host', 'x', 'A', 'a'.repeat(8200)] }, '400 Bad Request'],
    [{ ...head, rawHeaders: ['Host', 'x', 'Content-Length', '-1'] }, '400 Bad Request'],
  ])('refusalOf answers %o as nginx does', (parsed, status) => {
    expect(refusalOf(parsed, 0)?.toString('latin1').slice(9)).toMatch(new RegExp(`^${status}\r\n`))
  })

  it('refusalOf lets a sound head pass', () => {
    expect(
      refusalOf({ ...head, rawHeaders: ['Host', 'x', ...Array<string>(400).fill('a')] }, 0),
    ).toBeUndefined()
    expect(refusalOf(head, 0)).toBeUndefined()
    expect(refusalOf({ ...head, method: 'PUT', httpVersionMinor: 0, rawHeaders: [] }, 0)).toBeUndefined()
  })

  // The head used to be printed and parsed again; the printed form now serves as a second opinion.
  it('refusalOf says of the parts what the reader says of the same head in bytes', () => {
    const field = fc.constantFrom(
      'Host',
      'x',
      'Content-Length',
      '3',
      'Transfer-Encoding',
      'chunked',
      'gzip',
      'A',
      '',
      'a b',
      ' y ',
    )
    const heads = fc.record({
      method: fc.constantFrom('GET', 'POST', 'M-SEARCH', 'TRACE', 'get'),
      url: fc.constantFrom(
        '/',
        '*',
        '/../x',
        '/%zz',
        'http://x/',
        'http://a..b/',
        `/${'a'.repeat(8170)}`,
        'x',
      ),
      httpVersionMajor: fc.constantFrom(1, 1, 1, 2),
      httpVersionMinor: fc.constantFrom(0, 1),
      rawHeaders: fc.array(fc.tuple(field, field)).map((pairs) => pairs.flat()),
    })
    fc.assert(
      fc.property(heads, (parsed) => {
        const { method, url, httpVersionMajor, httpVersionMinor, rawHeaders } = parsed
        let text = `${method} ${url} HTTP/${httpVersionMajor}.${httpVersionMinor}\r\n`
        for (const [index, part] of rawHeaders.entries()) text += part + (index % 2 === 0 ? ': ' : '\r\n')
        // An empty name would print a line without a field name, which no parser accepts.
        fc.pre(!rawHeaders.some((part, index) => index % 2 === 0 && part === ''))
        const verdict = new HeadReader().push(Buffer.from(`${text}\r\n`, 'latin1'))
        const expected = verdict?.kind === 'bad' ? encodeAnswer(verdict, 0) : undefined
        expect(refusalOf(parsed, 0)).toEqual(expected)
      }),
    )
  })
})
