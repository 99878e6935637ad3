import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ClientHelloParser, MAX_CLIENT_HELLO_BYTES } from '../../../src/wire/client-hello.ts'
import type { ClientHelloResult } from '../../../src/wire/client-hello.ts'
import vectors from '../../vectors/client-hello.json' with { type: 'json' }
import { slowClientHello, slowRecords } from './slow-codec.ts'

const RANDOM = 'ab'.repeat(32)
const bytesOf = (hex: string): Buffer => Buffer.from(hex, 'hex')

function parse(...chunks: Buffer[]): ClientHelloResult {
  const parser = new ClientHelloParser()
  let result: ClientHelloResult = { kind: 'need-more' }
  for (const chunk of chunks) result = parser.push(chunk)
  return result
}

function parseByteByByte(bytes: Buffer): ClientHelloResult {
  return parse(...[...bytes].map((byte) => Buffer.of(byte)))
}

/** The result with the random as text, so that a mismatch can be read. */
function shown(result: ClientHelloResult): unknown {
  return result.kind === 'hello' ? { ...result.hello, random: result.hello.random.toString('hex') } : result
}

describe('captured hellos', () => {
  it.each(vectors)('the hello of $name is read at every split point', (vector) => {
    const bytes = bytesOf(vector.recordHex)
    const expected = {
      random: vector.clientRandomHex,
      serverName: vector.sni ?? undefined,
      alpn: vector.alpn,
    }
    for (let at = 0; at <= bytes.length; at += 1) {
      expect(shown(parse(bytes.subarray(0, at), bytes.subarray(at)))).toMatchObject(expected)
    }
    expect(shown(parseByteByByte(bytes))).toMatchObject(expected)
    expect(parse(bytes.subarray(0, -1)).kind).toBe('need-more')
  })

  it.each(vectors)('the hello of $name is read in records of any size', (vector) => {
    const message = vector.recordHex.slice(10)
    for (const fragment of [1, 2, 3, 16, 100, 500]) {
      const records = bytesOf(slowRecords(message, fragment))
      expect(shown(parse(records))).toMatchObject({ random: vector.clientRandomHex })
      expect(shown(parseByteByByte(records))).toMatchObject({ random: vector.clientRandomHex })
    }
  })
})

it('the reader of the ClientHello agrees with the second codec at any split of bytes and records', () => {
  const token = fc.string({
    unit: fc.constantFrom('a', 'B', '.', '-', '2', '/'),
    minLength: 1,
    maxLength: 30,
  })
  const hello = fc.record(
    {
      randomHex: fc
        .uint8Array({ minLength: 32, maxLength: 32 })
        .map((bytes) => Buffer.from(bytes).toString('hex')),
      alpn: fc.array(token, { maxLength: 5 }),
      serverName: token,
      padding: fc.nat(6000),
    },
    { requiredKeys: ['randomHex', 'alpn'] },
  )
  fc.assert(
    fc.property(hello, fc.integer({ min: 2, max: 5000 }), fc.nat(8000), (fields, fragment, at) => {
      const bytes = bytesOf(slowRecords(slowClientHello(fields), fragment))
      const expected = {
        random: fields.randomHex,
        serverName: fields.serverName,
        alpn: fields.alpn,
        supportedVersions: [0x0304, 0x0303],
      }
      expect(shown(parse(bytes.subarray(0, at), bytes.subarray(at)))).toMatchObject(expected)
    }),
  )
})

describe('what is no ClientHello', () => {
  const good = slowRecords(
    slowClientHello({ randomHex: RANDOM, serverName: 'a.example', alpn: ['h2'] }),
    5000,
  )

  it.each([
    ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\n').toString('hex'), 'not_tls'],
    ['SSL 2', '802e0103', 'not_tls'],
    ['first byte right, second wrong', '16ff', 'not_tls'],
    ['alert record', '15030100020228', 'not_tls'],
    ['empty fragment', '1603010000', 'bad_record'],
    ['fragment above 2^14', '1603014001', 'bad_record'],
    ['another record inside the message', '1603010002010017', 'bad_record'],
    ['ServerHello', '160301000402000000', 'not_client_hello'],
    ['message above the limit', '160301000401003ffd', 'too_long'],
    ['message of nothing', '160301000401000000', 'bad_field'],
    ['session id overruns', slowRecords(`010000240303${RANDOM}20aa`, 100), 'bad_field'],
    ['bytes behind the extensions', slowRecords(`010000280303${RANDOM}000000000001`, 100), 'bad_field'],
  ])('what is no ClientHello is refused: %s', (_name, hex, what) => {
    expect(parse(bytesOf(hex))).toEqual({ kind: 'malformed', what })
    expect(parseByteByByte(bytesOf(hex))).toEqual({ kind: 'malformed', what })
  })

  it('the reader of the ClientHello keeps its verdict', () => {
    const parser = new ClientHelloParser()
    parser.push(Buffer.from('x'))
    expect(parser.push(bytesOf(good))).toEqual({ kind: 'malformed', what: 'not_tls' })
  })

  it('the reader of the ClientHello takes one without extensions', () => {
    const message = `010000290303${RANDOM}00000213010100`
    expect(shown(parse(bytesOf(slowRecords(message, 100))))).toEqual({
      random: RANDOM,
      serverName: undefined,
      alpn: [],
      supportedVersions: [],
    })
  })

  it('the reader of the ClientHello refuses an extension that comes twice', () => {
    const extension = '00000006000400000161'
    const body = `0303${RANDOM}000002130101000014${extension}${extension}`
    const message = `010000${(body.length / 2).toString(16)}${body}`
    expect(parse(bytesOf(slowRecords(message, 100)))).toEqual({ kind: 'malformed', what: 'bad_field' })
  })

  it('the reader of the ClientHello never asks for more than its limit, whatever comes in', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (noise, tls) => {
        const start = tls ? '16030100ff01003000' : ''
        const bytes = Buffer.concat([bytesOf(start), noise])
        const whole = parse(bytes)
        expect(parseByteByByte(bytes)).toEqual(whole)
      }),
    )
    const tiny = bytesOf(slowRecords(`01003ff0${'00'.repeat(0x3ff0)}`, 1))
    expect(parse(tiny.subarray(0, MAX_CLIENT_HELLO_BYTES - 1)).kind).toBe('need-more')
    expect(parse(tiny.subarray(0, MAX_CLIENT_HELLO_BYTES))).toEqual({ kind: 'malformed', what: 'too_long' })
  })
})
