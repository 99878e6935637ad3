import { describe, expect, it } from 'vitest'
import { HeadReader } from '../../../../src/web/nginx/http-head.ts'
import type { HeadVerdict } from '../../../../src/web/nginx/head-judge.ts'

function judge(text: string): HeadVerdict | undefined {
  return new HeadReader().push(Buffer.from(text, 'latin1'))
}

function statusOf(verdict: HeadVerdict | undefined): unknown {
  if (verdict === undefined) return 'more'
  return verdict.kind === 'sound' ? 'sound' : (verdict.special ?? verdict.status)
}

/** Recorded from nginx 1.22. */
const CASES: [string, unknown][] = [
  ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'sound'],
  ['GET / HTTP/1.0\r\n\r\n', 'sound'],
  ['GET /\r\n', 'sound'],
  ['POST /\r\n', 400],
  ['GET / HTTP/1.1\nHost: x\n\n', 'sound'],
  ['\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n', 'sound'],
  ['GET  / HTTP/1.2\r\nHost: x\r\n\r\n', 'sound'],
  ['GET http://a/ HTTP/1.1\r\nHost: x\r\n\r\n', 'sound'],
  ['G_T-X / HTTP/1.1\r\nHost: x\r\n\r\n', 'sound'],
  ['GET / HTTP/1.1\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n', 400],
  ['GET / HTTP/1.1\r\nHost: x\r\na\0: 1\r\n\r\n', 400],
  ['GET / HTTP/0.9\r\n\r\n', 400],
  ['GET / HTTP/3.0\r\n\r\n', 505],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  ['GET / XTTP/1.1\r\n\r\n', 400],
  ['GET x HTTP/1.1\r\n\r\n', 400],
  ['GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['TRACE / HTTP/1.1\r\nHost: x\r\n\r\n', 405],
  ['CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n', 405],
  ['CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n', 400],
  ['POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n', 400],
  ['POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: foo\r\n\r\n', 501],
  ['POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n', 400],
  [`GET /${'a'.repeat(9000)} HTTP/1.1\r\n`, 414],
  [`GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(9000)}\r\n\r\n`, 'header_too_large'],
  [`GET / HTTP/1.1\r\n${`X: ${'a'.repeat(8000)}\r\n`.repeat(5)}\r\n`, 'header_too_large'],
  [`GET / HTTP/1.1\r\nHost: x\r\n${'a: b\r\n'.repeat(99)}\r\n`, 'sound'],
  [`GET / HTTP/1.1\r\nHost: x\r\n${'a: b\r\n'.repeat(100)}`, 'header_too_large'],
  ['GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n', 'sound'],
  ['POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n', 400],
  ['get / HTTP/1.1\r\n', 400],
  ['SSH-2.0-OpenSSH\r\n', 400],
  ['\x00\x01', 400],
  ['\x05\x01\x00', 400],
  ['hello', 400],
  ['', 'more'],
  ['GET', 'more'],
  ['GET /', 'more'],
  ['GET / HTTP/1.1\r\nHo', 'more'],
  ['\r\n\r\n', 'more'],
]

describe('HeadReader', () => {
  it.each(CASES)('the head reader judges %j', (text, expected) => {
    expect(statusOf(judge(text))).toBe(expected)
  })

  it.each(CASES.filter(([text]) => text.length < 200))(
    'the head reader comes to the same end byte by byte: %j',
    (text, expected) => {
      const reader = new HeadReader()
      let verdict: HeadVerdict | undefined
      for (const byte of Buffer.from(text, 'latin1')) {
        verdict = reader.push(Buffer.from([byte]))
        if (verdict) break
      }
      expect(statusOf(verdict)).toBe(expected)
    },
  )

  // 16,200 lines of one letter, in a head that is not too large for nginx, took 0.7 s: collecting them was quadratic.
  it('the head reader has its verdict on a head of nothing but small fields after the first hundred', () => {
    const reader = new HeadReader()
    const text = `GET / HTTP/1.1\r\n${'a\n'.repeat(100)}`
    expect(reader.push(Buffer.from(text, 'latin1'))).toBeUndefined()
    expect(statusOf(reader.push(Buffer.from('a\n'.repeat(16_100), 'latin1')))).toBe('header_too_large')
  })

  it('the head reader knows the content that is still to come', () => {
    expect(judge('POST / HTTP/1.1\r\nHost: x\r\nUser-Agent: a\r\nContent-Length: 9\r\n\r\nabc')).toEqual({
      kind: 'sound',
      method: 'POST',
      bare: false,
      userAgent: 'a',
      contentBytes: 9,
      restBytes: 3,
    })
  })
})
