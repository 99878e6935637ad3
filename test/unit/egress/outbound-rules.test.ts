import { describe, expect, it } from 'vitest'
import { OutboundRules } from '../../../src/egress/outbound-rules.ts'
import { outboundRules, type OutboundText } from '../../support/rules.ts'

function rules(list: OutboundText[], defaultAction: 'allow' | 'deny' = 'allow'): OutboundRules {
  return new OutboundRules({ rules: outboundRules(...list), defaultAction })
}

describe('OutboundRules', () => {
  it('without outbound rules the default decides', () => {
    expect(rules([]).allows('1.1.1.1', 1)).toBe(true)
    expect(rules([], 'deny').allows('1.1.1.1', 1)).toBe(false)
    expect(rules([], 'deny').allowsName(1)).toBe(false)
  })

  it('the first outbound rule that matches decides', () => {
    const some = rules(
      [
        { destinationPort: '25', action: 'deny' },
        { destinationCidr: '192.0.2.0/24', destinationPort: '1000-2000', action: 'allow' },
        { destinationCidr: '192.0.2.0/24', action: 'deny' },
        { destinationCidr: '2001:db8::/32', action: 'deny' },
      ],
      'allow',
    )
    expect(some.allows('1.1.1.1', 25)).toBe(false)
    expect(some.allows('192.0.2.1', 1000)).toBe(true)
    expect(some.allows('192.0.2.1', 2000)).toBe(true)
    expect(some.allows('192.0.2.1', 999)).toBe(false)
    expect(some.allows('192.0.2.1', 2001)).toBe(false)
    expect(some.allows('::ffff:192.0.2.1', 2001)).toBe(false)
    expect(some.allows('2001:db8::1', 443)).toBe(false)
    expect(some.allows('1.1.1.1', 443)).toBe(true)
  })

  it('outbound rules let a name pass until its addresses are known, unless the port settles it', () => {
    const some = rules(
      [
        { destinationPort: '25', action: 'deny' },
        { destinationPort: '443', destinationCidr: '192.0.2.0/24', action: 'allow' },
        { destinationPort: '80', action: 'allow' },
      ],
      'deny',
    )
    expect(some.allowsName(25)).toBe(false)
    expect(some.allowsName(443)).toBe(true)
    expect(some.allowsName(80)).toBe(true)
    expect(some.allowsName(81)).toBe(false)
    expect(some.allows('198.51.100.1', 443)).toBe(false)
  })
})
