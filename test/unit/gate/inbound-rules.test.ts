import * as fc from 'fast-check'
import { createCipheriv, createHash, createHmac, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { InboundRules } from '../../../src/gate/inbound-rules.ts'
import type { InboundSubject, Verdict } from '../../../src/gate/inbound-rules.ts'
import { inboundRules, type InboundText } from '../../support/rules.ts'

const RANDOM = Buffer.from('a0b1c2d3'.padEnd(64, '5'), 'hex')
const ADDRESS = '198.51.100.7'

function judge(
  rules: InboundText[],
  subject: Partial<InboundSubject> = {},
  fallback: 'allow' | 'deny' = 'allow',
): Verdict {
  const compiled = new InboundRules({ defaultAction: fallback, rules: inboundRules(...rules) })
  return compiled.evaluate({ address: ADDRESS, random: RANDOM, serverName: 'vpn.example.com', ...subject })
}

function bytesUpTo(max: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: 1, maxLength: max })
}

function hex(value: Uint8Array): string {
  return Buffer.from(value).toString('hex')
}

function bits(value: Uint8Array): string {
  return Array.from(value, (byte) => byte.toString(2).padStart(8, '0')).join('')
}

/** HKDF written out (RFC 5869), so that nothing is shared with the code under test. */
function pskRandom(keyHex: string, serverName: string): Buffer {
  const salt = randomBytes(16)
  const extracted = createHmac('sha256', salt).update(Buffer.from(keyHex, 'hex')).digest()
  const expanded = createHmac('sha256', extracted)
    .update(Buffer.concat([Buffer.from('tls13 encryption context'), Buffer.of(1)]))
    .digest()
  const block = createHash('sha256').update(serverName).digest().subarray(0, 16)
  const tag = createCipheriv('aes-128-ecb', expanded.subarray(0, 16), null).update(block)
  return Buffer.concat([salt, tag])
}

describe('order', () => {
  it('the first inbound rule that holds decides, else the default', () => {
    const rules: InboundText[] = [
      { cidr: '10.0.0.0/8', action: 'deny' },
      { cidr: '198.51.100.0/24', clientRandomPrefix: 'ffff', action: 'deny' },
      { cidr: '198.51.100.0/24', action: 'allow' },
      { action: 'deny' },
    ]
    expect(judge(rules)).toEqual({ action: 'allow', by: 2 })
    expect(judge(rules, { address: '10.9.9.9' })).toEqual({ action: 'deny', by: 0 })
    expect(judge(rules, { address: '2001:db8::1' })).toEqual({ action: 'deny', by: 3 })
    expect(judge([])).toEqual({ action: 'allow', by: 'default' })
    expect(judge(rules.slice(0, 1), {}, 'deny')).toEqual({ action: 'deny', by: 'default' })
  })

  it('an inbound rule wants both of its conditions', () => {
    const rule: InboundText = { cidr: '198.51.100.0/24', clientRandomPrefix: 'a0b1', action: 'deny' }
    expect(judge([rule])).toEqual({ action: 'deny', by: 0 })
    expect(judge([rule], { address: '198.51.101.1' }).action).toBe('allow')
    expect(judge([rule], { random: Buffer.alloc(32) }).action).toBe('allow')
  })
})

describe('random', () => {
  it.each([
    ['a0', true],
    ['A0B1C2D3', true],
    ['a1', false],
    [RANDOM.toString('hex'), true],
    [`${RANDOM.toString('hex')}00`, false],
    ['a0b1/ffff', true],
    ['a000/ff00', true],
    ['a0ff/ff00', true],
    ['a0ff/ff', true],
    ['b0/f0', false],
    ['a3/f0', true],
    ['00/00', true],
    ['a0/ffff', true],
    [`${RANDOM.toString('hex')}00/${'ff'.repeat(33)}`, true],
  ])('a rule on the random matches prefix %s: %s', (clientRandomPrefix, matches) => {
    expect(judge([{ clientRandomPrefix, action: 'deny' }]).action).toBe(matches ? 'deny' : 'allow')
  })

  it('a rule on the random agrees with a comparison of bits', () => {
    fc.assert(
      fc.property(bytesUpTo(3), bytesUpTo(3), (prefix, mask) => {
        const matches = Array.from(bits(mask)).every(
          (bit, index) =>
            bit === '0' || index >= bits(prefix).length || bits(prefix)[index] === bits(RANDOM)[index],
        )
        const verdict = judge([{ clientRandomPrefix: `${hex(prefix)}/${hex(mask)}`, action: 'deny' }])
        expect(verdict.action).toBe(matches ? 'deny' : 'allow')
      }),
    )
  })

  it('a rule on the random denies everybody when there is none', () => {
    const rules: InboundText[] = [{ action: 'allow' }, { clientRandomPrefix: 'aa', action: 'deny' }]
    expect(new InboundRules({ defaultAction: 'allow', rules: inboundRules(...rules) }).needsRandom).toBe(true)
    expect(judge(rules, { random: undefined })).toEqual({ action: 'deny', by: 'no_random' })
    expect(judge(rules, { random: Buffer.alloc(31) })).toEqual({ action: 'deny', by: 'no_random' })
    const without: InboundText[] = [{ cidr: '0.0.0.0/0', action: 'allow' }]
    expect(new InboundRules({ defaultAction: 'deny', rules: inboundRules(...without) }).needsRandom).toBe(
      false,
    )
    expect(judge(without, { random: undefined })).toEqual({ action: 'allow', by: 0 })
  })
})

describe('pre-shared key', () => {
  const clientRandomPskKey = '00112233445566778899aabbccddeeff'
  const rules: InboundText[] = [{ clientRandomPskKey, clientRandomPrefix: 'ffff', action: 'allow' }]

  it('a rule with a pre-shared key knows a random made with it for that server name', () => {
    for (let round = 0; round < 20; round += 1) {
      const random = pskRandom(clientRandomPskKey, 'vpn.example.com')
      expect(judge(rules, { random }, 'deny')).toEqual({ action: 'allow', by: 0 })
      expect(judge(rules, { random, serverName: 'other.example.com' }, 'deny').action).toBe('deny')
      random[31] = (random[31] ?? 0) ^ 1
      expect(judge(rules, { random }, 'deny').action).toBe('deny')
    }
    expect(judge(rules, { random: pskRandom('00', 'vpn.example.com') }, 'deny').action).toBe('deny')
  })

  it('a rule with a pre-shared key denies everybody without a server name', () => {
    expect(judge(rules, { serverName: undefined })).toEqual({ action: 'deny', by: 'no_server_name' })
    expect(judge(rules, { serverName: '' })).toEqual({ action: 'deny', by: 'no_server_name' })
  })
})

describe('no address', () => {
  it('inbound rules deny a peer without an address, unless there are none', () => {
    expect(judge([{ action: 'allow' }], { address: '' })).toEqual({ action: 'deny', by: 'no_address' })
  })
})
