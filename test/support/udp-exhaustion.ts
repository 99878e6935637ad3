/**
 * Run with few descriptors (`ulimit -n`): opens more flows than there are descriptors, then prints the counters as
 * JSON, once in the middle and once after the stream has ended.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { UdpEgress } from '../../src/egress/udp.ts'
import { UdpForwarder } from '../../src/forward/udp.ts'
import { encodeAddressing, encodeUdpUplink } from '../../src/wire/udp-frame.ts'
import { openDatagramTunnel } from './datagram-tunnel.ts'
import { UDP_EGRESS_OPTIONS, UDP_OPTIONS } from './room-options.ts'
import { OpenLedger } from './lane-share.ts'

const FLOWS = 200

const counters = new Counters()
const dialer = new UdpEgress({
  ...UDP_EGRESS_OPTIONS,
  policy: { check: () => {} },
  ipv6Available: true,
  counters,
})
const forwarder = new UdpForwarder({
  ...UDP_OPTIONS,
  slots: new OpenLedger(),
  dialer,
  counters,
  clock: systemClock,
  idleTimeoutMs: 60_000,
})
const tunnel = await openDatagramTunnel(forwarder)
tunnel.client.resume()
// Bound, so that the flows stay open, and silent.
const silent = createSocket('udp4')
silent.bind(0, '127.0.0.1')
await once(silent, 'listening')
const target = { address: '127.0.0.1', port: silent.address().port }
for (let port = 1; port <= FLOWS; port += 1) {
  const addressing = encodeAddressing({ address: '10.0.0.2', port }, target)
  tunnel.client.write(encodeUdpUplink(addressing, Buffer.from('x')))
}
await nextTurn()
const during = counters.snapshot()
tunnel.client.end()
const { reason } = await tunnel.ended
silent.close()
console.log(JSON.stringify({ during, after: counters.snapshot(), reason }))
