import { describe, expect, it } from 'vitest'
import { AddressTable, createAddressTable, returnAddresses } from '../../../src/users/address-table.ts'

const LIMITS = { connections: 3, handshakes: 2, bucket: { size: 100, refillMs: 10 } }
/** The smallest table there is. */
const BUCKETS = 64
const ENTRIES = BUCKETS * 16

const addressOf = (index: number): string => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`

function twoLanes() {
  const share = createAddressTable(2, 1)
  return { share, first: new AddressTable(share, 0), second: new AddressTable(share, 1) }
}

function connected(result: ReturnType<AddressTable['connect']>) {
  if (typeof result === 'string') throw new Error(`refused: ${result}`)
  return result
}

describe('the address table of two lanes', () => {
  it('the address table counts connections and handshakes of both lanes', () => {
    const { first, second } = twoLanes()
    const one = connected(first.connect('192.0.2.1', LIMITS, 0))
    connected(second.connect('192.0.2.1', LIMITS, 0)).handshakeDone()
    one.handshakeDone()
    connected(second.connect('192.0.2.1', LIMITS, 0))
    expect(first.connect('192.0.2.1', LIMITS, 0)).toBe('connections')
    one.release()
    connected(first.connect('192.0.2.1', LIMITS, 0))
    expect(second.connect('192.0.2.1', { ...LIMITS, connections: 9 }, 0)).toBe('handshakes')
  })

  it('the address table takes the tokens of both lanes from one bucket, which fills with time', () => {
    const { first, second } = twoLanes()
    const limits = { connections: 100, handshakes: 100, bucket: { size: 3, refillMs: 10 } }
    for (const table of [first, second, first]) connected(table.connect('192.0.2.1', limits, 0))
    expect(second.connect('192.0.2.1', limits, 9)).toBe('tokens')
    connected(second.connect('192.0.2.1', limits, 10))
    expect(first.connect('192.0.2.1', limits, 10)).toBe('tokens')
    expect(first.fail('192.0.2.1', { size: 5, refillMs: 1000, floor: -2 }, 10)).toBe(4)
    for (let failure = 0; failure < 9; failure++)
      second.fail('192.0.2.1', { size: 5, refillMs: 1000, floor: -2 }, 10)
    expect(first.fail('192.0.2.1', { size: 5, refillMs: 1000, floor: -2 }, 10)).toBe(-2)
  })

  it('the address table counts speed tests and proxied requests apart from each other', () => {
    const { share, first, second } = twoLanes()
    const leave = first.hold('2001:db8::1', 'speedTests', 2, 0)
    expect(second.hold('2001:db8::2', 'speedTests', 2, 0)).toBeDefined()
    expect(second.hold('2001:db8::3', 'speedTests', 2, 0)).toBeUndefined()
    expect(second.hold('2001:db8::3', 'proxyRequests', 1, 0)).toBeDefined()
    leave?.()
    expect(first.hold('2001:db8::3', 'speedTests', 2, 0)).toBeDefined()
    returnAddresses(share, 1)
    expect(first.hold('2001:db8::3', 'speedTests', 2, 0)).toBeDefined()
    expect(first.hold('2001:db8::3', 'speedTests', 2, 0)).toBeUndefined()
    expect(first.hold('2001:db8::3', 'proxyRequests', 1, 0)).toBeDefined()
  })

  it('the address table takes an IPv4 address, a /64 and other text for different addresses, whatever their bytes', () => {
    const { first } = twoLanes()
    const limits = { ...LIMITS, connections: 1 }
    const addresses = ['1.2.3.4', '::ffff:1.2.3.5', '0:0:102:304::1', 'pipe', '', '102:304::1']
    for (const address of addresses) connected(first.connect(address, limits, 0))
    for (const address of addresses) expect(first.connect(address, limits, 0)).toBe('connections')
    expect(first.connect('1.2.3.5', limits, 0)).toBe('connections')
  })

  it('the address table refuses whom it cannot count, and forgets nobody who has something open', () => {
    const { first, second } = twoLanes()
    const open = new Set<string>()
    let full = 0
    for (let index = 0; index < 4 * ENTRIES; index++) {
      const result = first.connect(addressOf(index), LIMITS, index)
      if (typeof result === 'object') open.add(addressOf(index))
      else full += result === 'full' ? 1 : 0
    }
    expect(open.size).toBe(ENTRIES)
    expect(full).toBe(3 * ENTRIES)
    const again = [...open].map((address) => second.connect(address, { ...LIMITS, connections: 1 }, 0))
    expect(new Set(again)).toEqual(new Set(['connections']))
    expect(second.fail(addressOf(5 * ENTRIES), { size: 5, refillMs: 1, floor: 0 }, 0)).toBe(4)
    expect(second.hold(addressOf(5 * ENTRIES), 'speedTests', 5, 0)).toBeUndefined()
  })

  it('the address table forgets the one that was unused longest when it needs room', () => {
    const { first } = twoLanes()
    const bucket = { size: 1, refillMs: Infinity }
    const limits = { ...LIMITS, bucket }
    connected(first.connect(addressOf(0), limits, 0)).release()
    for (let index = 1; index < 4 * ENTRIES; index++) {
      const hold = connected(first.connect(addressOf(index), limits, index))
      hold.handshakeDone()
      hold.release()
    }
    // The last ones are still known: their token is spent.
    expect(first.connect(addressOf(4 * ENTRIES - 1), limits, 4 * ENTRIES)).toBe('tokens')
  })
})
