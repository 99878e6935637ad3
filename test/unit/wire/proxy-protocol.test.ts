import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_V2_BLOCK_BYTES, parseProxyHeader } from '../../../src/wire/proxy-protocol.ts'
import { hexOf, slowPadded } from './slow-codec.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'
const v2 = (commandHex: string, familyHex: string, blockHex: string): Buffer =>
  Buffer.from(SIGNATURE + commandHex + familyHex + hexOf(blockHex.length / 2, 2) + blockHex, 'hex')
const TLS = Buffer.from('1603010200', 'hex')
const addresses4 = `cb007107c0000201${hexOf(40_000, 2)}${hexOf(443, 2)}`
const addresses6 = `${slowPadded('2001:db8::1')}${slowPadded('2001:db8::2')}${hexOf(1, 2)}${hexOf(443, 2)}`

describe('headers', () => {
  it.each([
    ['v1 TCP4', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n'), '203.0.113.7', 40_000],
    ['v1 TCP6', Buffer.from('PROXY TCP6 2001:DB8::1 2001:db8::2 1 443\r\n'), '2001:db8::1', 1],
    ['v1 UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), undefined, undefined],
    ['v1 UNKNOWN with more', Buffer.from('PROXY UNKNOWN ffff::1 what ever\r\n'), undefined, undefined],
    ['v2 TCP4', v2('21', '11', addresses4), '203.0.113.7', 40_000],
    ['v2 TCP6', v2('21', '21', addresses6), '2001:db8::1', 1],
    ['v2 TCP4 with TLVs', v2('21', '11', `${addresses4}03000401020304`), '203.0.113.7', 40_000],
    [
      'v2 with the longest block',
      v2('21', '11', addresses4.padEnd(MAX_V2_BLOCK_BYTES * 2, '0')),
      '203.0.113.7',
      40_000,
    ],
    ['v2 LOCAL', v2('20', '00', ''), undefined, undefined],
    ['v2 LOCAL with addresses', v2('20', '11', addresses4), undefined, undefined],
    ['v2 unspecified', v2('21', '00', 'aabbcc'), undefined, undefined],
  ])('a PROXY header is read at every length: %s', (_name, header, address, port) => {
    const bytes = Buffer.concat([header, TLS])
    for (let length = 0; length < header.length; length += 1) {
      expect(parseProxyHeader(bytes.subarray(0, length)).kind).toBe('need-more')
    }
    for (let length = header.length; length <= bytes.length; length += 1) {
      const result = parseProxyHeader(bytes.subarray(0, length))
      expect(result).toMatchObject({ kind: 'header', length: header.length })
      if (result.kind === 'header')
        expect([result.source?.address, result.source?.port]).toEqual([address, port])
    }
  })

  it.each([
    ['TLS', TLS],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['lower case', Buffer.from('proxy TCP4 ')],
    ['line feed alone', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\n')],
    ['no line end', Buffer.from(`PROXY TCP4 ${'1'.repeat(107)}`)],
    ['two spaces', Buffer.from('PROXY TCP4  203.0.113.7 192.0.2.1 40000 443\r\n')],
    ['one field more', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 40000 443 1\r\n')],
    ['one field less', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 40000\r\n')],
    ['wrong family', Buffer.from('PROXY TCP6 203.0.113.7 192.0.2.1 40000 443\r\n')],
    ['address in octal', Buffer.from('PROXY TCP4 203.0.113.07 192.0.2.1 40000 443\r\n')],
    ['port too large', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n')],
    ['port with a leading zero', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 040 443\r\n')],
    ['UDP4', Buffer.from('PROXY UDP4 203.0.113.7 192.0.2.1 1 443\r\n')],
    ['v2 of another version', v2('11', '11', addresses4)],
    ['v2 of another command', v2('22', '11', addresses4)],
    ['v2 over UDP', v2('21', '12', addresses4)],
    ['v2 over a unix socket', v2('21', '31', '00'.repeat(216))],
    ['v2 with a short block', v2('21', '21', addresses4)],
    ['v2 with too long a block', v2('21', '11', addresses4.padEnd(MAX_V2_BLOCK_BYTES * 2 + 2, '0'))],
  ])('a PROXY header is refused: %s', (_name, bytes) => {
    expect(parseProxyHeader(bytes)).toEqual({ kind: 'malformed' })
  })
})

it('the reader of PROXY headers never throws, and never claims bytes that are not there', () => {
  const start = fc.constantFrom(Buffer.alloc(0), Buffer.from('PROXY '), Buffer.from(SIGNATURE, 'hex'))
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 300 }), (head, tail) => {
      const bytes = Buffer.concat([head, tail])
      const result = parseProxyHeader(bytes)
      if (result.kind === 'header') expect(result.length).toBeLessThanOrEqual(bytes.length)
    }),
  )
})
