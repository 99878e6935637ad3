/**
 * The answer to the sixth wrong password waited 10 s, the next ones 20 and 30. A client gives up on a health check
 * after 7 s (specification 8.4), so it never saw the 407 and reconnected forever, and so did everybody behind the same
 * address.
 */
import { describe, expect, it } from 'vitest'
import { AuthThrottle } from '../../../src/dispatch/auth-throttle.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { openAddresses } from '../../support/lane-share.ts'

/** Specification 8.4. */
const HEALTH_CHECK_MS = 7000

function failures(throttle: AuthThrottle, address: string, n: number): number[] {
  return Array.from({ length: n }, () => throttle.onFailure(address))
}

function create(
  options: ConstructorParameters<typeof AuthThrottle>[0],
  clock = new FakeClock(),
  addresses = openAddresses(),
): AuthThrottle {
  return new AuthThrottle(options, { clock, failures: addresses })
}

describe('AuthThrottle', () => {
  const options = { maxFailures: 3, refillMs: 10_000 }

  it('the throttle answers the first failures at once and makes the next ones wait ever longer, up to 5 s', () => {
    const throttle = create({ maxFailures: 3, refillMs: 2000 })
    expect(failures(throttle, '192.0.2.1', 7)).toEqual([0, 0, 0, 2000, 4000, 5000, 5000])
  })

  it.each([1, 1000, 7000, 10_000, 3_600_000])(
    'the throttle never lets a health check of 7 s time out, with one failure more per %d ms',
    (refillMs) => {
      const throttle = create({ maxFailures: 5, refillMs })
      expect(Math.max(...failures(throttle, '192.0.2.1', 5000))).toBeLessThan(HEALTH_CHECK_MS)
    },
  )

  it('the throttle forgets how often an address has guessed once it waits the longest', () => {
    const clock = new FakeClock()
    const throttle = create(options, clock)
    failures(throttle, '192.0.2.1', 5000)
    clock.advance(2 * options.refillMs)
    expect(throttle.onFailure('192.0.2.1')).toBe(0)
  })

  it('the throttle forgives with time', () => {
    const clock = new FakeClock()
    const throttle = create(options, clock)
    failures(throttle, '192.0.2.1', 3)
    clock.advance(10_000)
    expect(failures(throttle, '192.0.2.1', 2)).toEqual([0, 5000])
    clock.advance(3_600_000)
    expect(failures(throttle, '192.0.2.1', 4)).toEqual([0, 0, 0, 5000])
  })

  it('the throttle judges each IPv4 address alone and an IPv6 /64 as one', () => {
    const throttle = create(options)
    failures(throttle, '192.0.2.1', 5)
    expect(throttle.onFailure('192.0.2.2')).toBe(0)
    failures(throttle, '2001:db8:1:2::1', 3)
    expect(throttle.onFailure('2001:db8:1:2:ffff::9')).toBe(5000)
    expect(throttle.onFailure('2001:db8:1:3::1')).toBe(0)
  })

  // The first four groups of the text were taken for the /64. In an address that begins with `::` they are the whole
  // address: somebody with a short prefix could try a password from each of 2^64 addresses without ever waiting.
  it('the throttle finds the /64 of an address whose zeros are left out', () => {
    const throttle = create(options)
    failures(throttle, '2001:db8::1', 3)
    expect(throttle.onFailure('2001:db8::2')).toBe(5000)
    expect(throttle.onFailure('2001:db8:0:1::1')).toBe(0)
  })

  it('the throttle leaves loopback alone, and everybody when it is off', () => {
    expect(failures(create(options), '127.0.0.1', 9)).toEqual(Array(9).fill(0))
    const off = create({ maxFailures: 0, refillMs: 1 })
    expect(failures(off, '192.0.2.1', 9)).toEqual(Array(9).fill(0))
  })

  it('the throttle remembers a bounded number of addresses', () => {
    const throttle = create(options, new FakeClock(), openAddresses(1))
    failures(throttle, '192.0.2.1', 5)
    for (let i = 0; i < 16_384; i++) throttle.onFailure(`10.0.${i >> 8}.${i & 255}`)
    expect(throttle.onFailure('192.0.2.1')).toBe(0)
  })
})
