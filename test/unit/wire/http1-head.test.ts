import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HeadReader } from '../../../src/wire/http1/head.ts'
import type { Head, SoundHead } from '../../../src/wire/http1/head.ts'
import { HEAD_CASES, HOST, get, line, post } from '../../support/http1-heads.ts'
import type { Verdict } from '../../support/http1-heads.ts'

const NGINX = { tunnels: false }
const OURS = { tunnels: true }

function read(text: string, options = NGINX): Head | undefined {
  return new HeadReader(options).push(Buffer.from(text, 'latin1'))
}

function soundHead(text: string, options = OURS): SoundHead {
  const head = read(text, options)
  if (head?.kind !== 'sound') throw new Error(`not sound: ${JSON.stringify(head)}`)
  return head
}

function statusOf(head: Head | undefined): Verdict {
  if (head === undefined) return 'more'
  if (head.kind === 'sound') return 'sound'
  return head.fault === 'fields_too_large' ? head.fault : head.status
}

/** With a name of bearable length. */
const NAMED = HEAD_CASES.map(([text, expected]) => [text.slice(0, 80), text, expected] as const)

describe('HeadReader', () => {
  it.each(NAMED)('the head reader judges %j', (_, text, expected) => {
    expect(statusOf(read(text))).toBe(expected)
  })

  it.each(HEAD_CASES.filter(([text]) => text.length < 200))(
    'the head reader comes to the same end wherever the head is split: %j',
    (text) => {
      const bytes = Buffer.from(`${text}rest`, 'latin1')
      const whole = new HeadReader(NGINX)
      const expected = whole.push(bytes)
      for (let split = 0; split <= bytes.length; split++) {
        const reader = new HeadReader(NGINX)
        const first = reader.push(bytes.subarray(0, split))
        const head = first ?? reader.push(bytes.subarray(split))
        expect(head).toEqual(expected)
        expect(reader.consumed + (first === undefined ? split : 0)).toBe(whole.consumed)
      }
      const reader = new HeadReader(NGINX)
      let head: Head | undefined
      for (const byte of bytes) if (head === undefined) head = reader.push(Buffer.from([byte]))
      expect(head).toEqual(expected)
    },
  )

  it('the head reader tells all about a request', () => {
    expect(
      soundHead(
        'POST http://A.example:81/x?y=1#z HTTP/1.5\r\nHOST:  other \r\nX-A: 1\r\nx-a:2\r\nCookie: a\r\nCookie: b\r\n' +
          'User-Agent: u\r\nUser-Agent: v\r\nEmpty\r\nContent-Length: 7\r\n\r\nrest',
      ),
    ).toEqual({
      kind: 'sound',
      method: 'POST',
      target: { scheme: 'http', authority: 'A.example:81', path: '/x?y=1#z' },
      minor: 1,
      headers: {
        host: 'other',
        'x-a': '1, 2',
        cookie: 'a; b',
        'user-agent': 'u',
        empty: '',
        'content-length': '7',
      },
      keepAlive: true,
      content: { kind: 'sized', bytes: 7 },
    })
  })

  it.each([
    ['GET http://a HTTP/1.1', '/'],
    ['GET http://a?b HTTP/1.1', '/?b'],
    ['GET http://[::1]:80/c HTTP/1.1', '/c'],
  ])('the head reader finds the path of %s', (text, path) => {
    expect(soundHead(`${text}\r\n${HOST}\r\n`).target.path).toBe(path)
  })

  it('the head reader is not misled by names that every object has', () => {
    const { headers } = soundHead(get('constructor: 1\r\n__proto__: 2\r\ntostring: 3\r\n'))
    expect({ ...headers }).toEqual({ host: 'x', constructor: '1', tostring: '3' })
  })

  it('the head reader hands on no field whose name could pass for another', () => {
    const { headers, content } = soundHead(
      post('Content_Length: 5\r\nTransfer-Encoding!: chunked\r\nX_Y: 1\r\n'),
    )
    expect({ ...headers }).toEqual({ host: 'x' })
    expect(content).toEqual({ kind: 'none' })
  })

  it.each([
    ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', true],
    ['GET / HTTP/1.0\r\n\r\n', false],
    ['GET /\r\n', false],
    ['GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n', true],
    ['GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n', false],
    ['GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n', false],
    ['GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n', true],
    ['GET / HTTP/1.1\r\nHost: x\r\nConnection: disclosed\r\n\r\n', false],
    ['GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n\r\n', true],
  ])('the head reader knows whether the client keeps the connection: %j', (text, expected) => {
    expect(soundHead(text).keepAlive).toBe(expected)
  })

  it.each([
    ['CONNECT a.example:443 HTTP/1.1\r\n\r\n', { authority: 'a.example:443', path: '' }],
    ['CONNECT _check HTTP/1.1\r\n\r\n', { authority: '_check', path: '' }],
    ['CONNECT [::1]:443 HTTP/1.0\r\n\r\n', { authority: '[::1]:443', path: '' }],
    ['CONNECT https://a:443/ HTTP/1.1\r\n\r\n', { authority: 'https://a:443/', path: '' }],
    ['CONNECT / HTTP/1.1\r\nHost: a:443\r\n\r\n', { authority: undefined, path: '/' }],
    // Whatever frames content elsewhere: what follows belongs to the tunnel.
    [
      'CONNECT a:1 HTTP/1.1\r\nTransfer-Encoding: x\r\nContent-Length: 3\r\n\r\n',
      { authority: 'a:1', path: '' },
    ],
  ])('the head reader reads the target of a tunnel: %j', (text, target) => {
    const head = soundHead(text)
    expect(head.target).toEqual({ scheme: undefined, ...target })
    expect(head.content).toEqual({ kind: 'none' })
    expect(statusOf(read(text))).not.toBe('sound')
  })

  it('the head reader takes an unusual host from a client with credentials', () => {
    const text = line('http://a_b/').slice(0, -2)
    expect(statusOf(read(`${text}\r\n`, OURS))).toBe(400)
    expect(statusOf(read(`${text}Proxy-Authorization: Basic x\r\n\r\n`, OURS))).toBe('sound')
  })

  it.each([
    ['HEAD / HTTP/2.0', { method: 'HEAD', bare: false, status: 505, fault: 'version' }],
    ['HEAD /\r\n', { method: 'HEAD', bare: true, status: 400, fault: 'request_line' }],
    ['HE@', { method: '', bare: false, fault: 'request_line' }],
    ['GET /%00\r\n', { method: 'GET', bare: true, fault: 'request_line' }],
    [get('User-Agent: u\r\na b'), { userAgent: 'u', fault: 'field' }],
    ['GET / HTTP/1.1\r\nUser-Agent: u\r\n\r\n', { userAgent: 'u', fault: 'host' }],
    // Content that nginx waits for depends on when it has looked at the length.
    [post('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n'), { content: { kind: 'sized', bytes: 4 } }],
    [post('Content-Length: 4\r\nTransfer-Encoding: x\r\n'), { content: { kind: 'sized', bytes: 4 } }],
    [post('Content-Length: 4\r\nContent-Length: 4\r\n'), { content: { kind: 'none' } }],
    ['POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n', { content: { kind: 'none' } }],
    [
      'TRACE / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n',
      { fault: 'method', content: { kind: 'chunked' } },
    ],
  ])('the head reader says about what it refuses all that an answer needs: %j', (text, expected) => {
    expect(read(text)).toMatchObject(expected)
  })

  // 16,200 lines of one letter, in a head that was not too large for nginx then, took 0.7 s: collecting was quadratic.
  it('the head reader joins as many fields of one name as there may be', () => {
    const { headers } = soundHead(get('a:b\n'.repeat(999)))
    expect(headers['a']?.length).toBe(999 * 3 - 2)
  })

  it('the head reader has one answer to any bytes, however they are cut', () => {
    const byte = fc.oneof(
      fc.constantFrom(...Buffer.from('GET /HTP1.\r\n: \0\tx%?#')),
      fc.integer({ min: 0, max: 255 }),
    )
    const fragment = fc.constantFrom(
      'GET ',
      '/',
      ' HTTP/1.1\r\n',
      'Host: x\r\n',
      '\r\n',
      'a: b\r\n',
      'POST ',
      'http://a',
    )
    const bytes = fc
      .array(
        fc.oneof(
          fragment.map((text) => [...Buffer.from(text)]),
          fc.array(byte, { maxLength: 4 }),
        ),
      )
      .map((parts) => Buffer.from(parts.flat()))
    fc.assert(
      fc.property(bytes, fc.nat({ max: 40 }), fc.boolean(), (input, split, tunnels) => {
        const whole = new HeadReader({ tunnels }).push(input)
        const reader = new HeadReader({ tunnels })
        const cut = reader.push(input.subarray(0, split)) ?? reader.push(input.subarray(split))
        expect(cut).toEqual(whole)
      }),
    )
  })
})
