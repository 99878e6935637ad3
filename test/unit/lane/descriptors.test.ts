import { beforeEach, expect, it } from 'vitest'
import { Counters } from '../../../src/counters.ts'
import { DescriptorReserve } from '../../../src/lane/descriptors.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { OpenLedger } from '../../support/lane-share.ts'

const COUNT_PERIOD_MS = 5000
let clock: FakeClock
let counters: Counters
/** Of the whole process, as the system counts them. */
let open: number
let tunnels: number

beforeEach(() => {
  clock = new FakeClock()
  counters = new Counters()
  counters.gauge('outbound_tcp_sockets', () => tunnels)
  ;[open, tunnels] = [40, 0]
})

const create = (limit: number | undefined) =>
  new DescriptorReserve({ clock, counters, counted: new OpenLedger().endpoint, limit, count: () => open })

it('the reserve of descriptors stops dialling while clients still have room, and accepting while the endpoint still has', () => {
  const reserve = create(400)
  // 400, less 24 for the endpoint, less 50 for clients, less the 40 that were open at the start.
  tunnels = 285
  expect([reserve.mayDial(), reserve.mayAccept()]).toEqual([true, true])
  tunnels = 286
  expect([reserve.mayDial(), reserve.mayAccept()]).toEqual([false, true])
  tunnels = 337
  expect([reserve.mayDial(), reserve.mayAccept()]).toEqual([false, false])
  tunnels = 0
  expect([reserve.mayDial(), reserve.mayAccept()]).toEqual([true, true])
})

it('the reserve of descriptors learns of those that nothing counts before they matter', () => {
  const reserve = create(400)
  ;[open, tunnels] = [330, 200]
  clock.advance(COUNT_PERIOD_MS)
  expect(reserve.mayDial()).toBe(false)
  open = 240
  clock.advance(COUNT_PERIOD_MS)
  expect(reserve.mayDial()).toBe(true)
  reserve.close()
  expect(clock.pending).toBe(0)
})

it('the reserve of descriptors learns of those that nothing counts also when it had plenty until then', () => {
  const reserve = create(400)
  open = 370
  clock.advance(COUNT_PERIOD_MS)
  expect([reserve.mayDial(), reserve.mayAccept()]).toEqual([false, true])
  reserve.close()
})

it('the reserve of descriptors does not count QUIC connections, which all share one', () => {
  counters.gauge('gate_connections', () => 1000)
  counters.gauge('gate_tcp_connections', () => 1)
  const reserve = create(400)
  expect([reserve.mayDial(), reserve.mayAccept()]).toEqual([true, true])
  reserve.close()
})

it('the reserve of descriptors takes a process that cannot count them any more for full, until it can again', () => {
  const reserve = create(400)
  open = Infinity
  clock.advance(COUNT_PERIOD_MS)
  expect([reserve.mayDial(), reserve.mayAccept()]).toEqual([false, false])
  open = 40
  clock.advance(COUNT_PERIOD_MS)
  expect([reserve.mayDial(), reserve.mayAccept()]).toEqual([true, true])
  reserve.close()
})

it('the reserve of descriptors lowers a limit of one user to his share, and leaves it where there are enough', () => {
  // 400, less 24, less 50, less 40: 286 may go to targets.
  expect(create(400).lower(4096, 1 / 2)).toBe(143)
  expect(create(400).lower(100, 1 / 2)).toBe(100)
  expect(create(1_048_576).lower(4096, 1 / 2)).toBe(4096)
  expect(create(undefined).lower(4096, 1 / 2)).toBe(4096)
})

it('the reserve of descriptors holds nothing back where no limit is known', () => {
  const reserve = create(undefined)
  tunnels = 1_000_000
  expect([reserve.mayDial(), reserve.mayAccept(), clock.pending]).toEqual([true, true, 0])
})
