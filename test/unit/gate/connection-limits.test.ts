import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConnectionLimits } from '../../../src/gate/connection-limits.ts'
import type { Admission, ConnectionLimitsOptions } from '../../../src/gate/connection-limits.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { openAddresses, OpenLedger } from '../../support/lane-share.ts'

const OPTIONS: ConnectionLimitsOptions = {
  handshakesPerAddress: 128,
  handshakesTotal: 1024,
  connectionsPerAddress: 512,
  connectionsTotal: 16_384,
  connectionBurst: 100,
  connectionRate: 20,
}

function create(
  changes: Partial<ConnectionLimitsOptions> = {},
  addresses = openAddresses(),
): {
  clock: FakeClock
  limits: ConnectionLimits
  open: (address: string) => Admission | string
} {
  const clock = new FakeClock()
  const places = new OpenLedger().endpoint
  const limits = new ConnectionLimits({ ...OPTIONS, ...changes }, { clock, places, addresses })
  const open = (address: string): Admission | string => {
    const admission = limits.admit()
    if (typeof admission === 'string') return admission
    const refused = admission.identify(address)
    if (refused === undefined) return admission
    admission.release()
    return refused
  }
  return { clock, limits, open }
}

function admitted(result: Admission | string): Admission {
  if (typeof result === 'string') throw new Error(`refused: ${result}`)
  return result
}

describe('connection limits', () => {
  it('connection limits let ten users with eight connections come back at once behind one address, twice', () => {
    const { clock, limits, open } = create()
    for (let round = 0; round < 2; round += 1) {
      const all = Array.from({ length: 80 }, () => admitted(open('198.51.100.7')))
      expect(limits.handshakes).toBe(80)
      for (const admission of all) admission.release()
      clock.advance(4000)
    }
    expect([limits.connections, limits.handshakes]).toEqual([0, 0])
  })

  it('connection limits hold a scanner to the rate once its burst is spent', () => {
    const { clock, open } = create()
    const attempts = (count: number): number =>
      Array.from({ length: count }, () => open('203.0.113.9')).filter((result) => {
        if (typeof result === 'string') expect(result).toBe('connection_rate')
        else result.release()
        return typeof result !== 'string'
      }).length
    expect(attempts(500)).toBe(100)
    clock.advance(1000)
    expect(attempts(500)).toBe(20)
    clock.advance(60_000)
    expect(attempts(500)).toBe(100)
    expect(typeof open('203.0.113.10')).not.toBe('string')
  })

  it.each([
    ['connections_total', { connectionsTotal: 3 }],
    ['handshakes_total', { handshakesTotal: 3 }],
    ['connections_per_address', { connectionsPerAddress: 3 }],
    ['handshakes_per_address', { handshakesPerAddress: 3 }],
    ['connection_rate', { connectionBurst: 3, connectionRate: 1 }],
  ] as const)('connection limits refuse the newest: %s', (reason, changes) => {
    const { limits, open } = create(changes)
    const first = [1, 2, 3].map(() => admitted(open('192.0.2.1')))
    expect(open('192.0.2.1')).toBe(reason)
    expect(limits.connections).toBe(3)
    const other = open('192.0.2.2')
    expect(other).toSatisfy((result: unknown) =>
      reason.endsWith('total') ? result === reason : typeof result === 'object',
    )
    for (const admission of first) admission.release()
    if (reason !== 'connection_rate') admitted(open('192.0.2.1'))
  })

  it('connection limits make room for handshakes when one is done, and count nothing twice', () => {
    const { limits, open } = create({ handshakesPerAddress: 1 })
    const first = admitted(open('192.0.2.1'))
    expect(open('192.0.2.1')).toBe('handshakes_per_address')
    first.handshakeDone()
    first.handshakeDone()
    const second = admitted(open('192.0.2.1'))
    expect([limits.connections, limits.handshakes]).toEqual([2, 1])
    for (const admission of [first, first, second]) admission.release()
    second.handshakeDone()
    expect([limits.connections, limits.handshakes]).toEqual([0, 0])
  })

  it('connection limits count IPv6 by the /64', () => {
    const { open } = create({ connectionsPerAddress: 2 })
    admitted(open('2001:db8:1:2::1'))
    admitted(open('2001:db8:1:2:ffff::2'))
    expect(open('2001:db8:1:2:3:4:5:6')).toBe('connections_per_address')
    admitted(open('2001:db8:1:3::1'))
  })

  it('connection limits remember a bounded number of addresses, the ones with connections always', () => {
    const { open } = create({ connectionBurst: 2, connectionRate: 1e-9 }, openAddresses(1))
    const kept = admitted(open('192.0.2.1'))
    admitted(open('192.0.2.1')).release()
    admitted(open('192.0.2.2')).release()
    admitted(open('192.0.2.2')).release()
    expect(open('192.0.2.2')).toBe('connection_rate')
    for (let index = 0; index < 20_000; index += 1) {
      admitted(open(`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`)).release()
    }
    expect(open('192.0.2.1')).toBe('connection_rate')
    admitted(open('192.0.2.2')).release()
    kept.release()
  })

  it('connection limits keep their sums right in any order of events', () => {
    const step = fc.tuple(fc.constantFrom('open', 'done', 'release', 'wait'), fc.nat(30), fc.nat(3))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const { clock, limits, open } = create({
          connectionsPerAddress: 5,
          handshakesTotal: 9,
          connectionBurst: 20,
        })
        const live = new Map<Admission, 'handshake' | 'open'>()
        for (const [what, pick, host] of steps) {
          const chosen = [...live.keys()][pick % Math.max(live.size, 1)]
          if (what === 'wait') clock.advance(pick * 10)
          else if (what === 'open') {
            const result = open(`192.0.2.${host}`)
            if (typeof result !== 'string') live.set(result, 'handshake')
          } else if (chosen !== undefined) {
            if (what === 'done') chosen.handshakeDone()
            else chosen.release()
            if (what === 'done') live.set(chosen, 'open')
            else live.delete(chosen)
          }
          expect(limits.connections).toBe(live.size)
          expect(limits.handshakes).toBe([...live.values()].filter((state) => state === 'handshake').length)
        }
        for (const admission of live.keys()) admission.release()
        clock.advance(60_000)
        admitted(open('192.0.2.99')).release()
        expect([limits.connections, limits.handshakes]).toEqual([0, 0])
      }),
    )
  })
})
