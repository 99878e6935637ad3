/**
 * An ICMP forwarder with real raw sockets, run in a test's network namespace: reads requests as JSON lines (`{ client,
 * id, destination, ... }`), writes replies as JSON lines (`{ client, reply }`), and ends when its input does.
 */
import { randomFillSync } from 'node:crypto'
import { createInterface } from 'node:readline'
import { pino } from 'pino'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { openIcmp } from '../../src/egress/icmp.ts'
import { IcmpForwarder } from '../../src/forward/icmp.ts'
import { encodeIcmpRequest, IcmpReplyDecoder, type IcmpRequest } from '../../src/wire/icmp-frame.ts'
import { openDatagramTunnel, type DatagramTunnel } from './datagram-tunnel.ts'
import { ICMP_OPTIONS, ICMP_QUEUE } from './room-options.ts'
import { OpenLedger } from './lane-share.ts'

const counters = new Counters()
const interfaceName = process.argv[2]
const icmp = await openIcmp({
  ...ICMP_OPTIONS,
  slots: new OpenLedger(),
  interfaceName,
  ipv6Available: true,
  requestTimeoutMs: 10_000,
  policy: { check: () => {} },
  fillRandom: (bytes) => void randomFillSync(bytes),
  clock: systemClock,
  counters,
  log: pino({ level: 'silent' }),
})
const forwarder = new IcmpForwarder({ ...ICMP_QUEUE, sender: icmp, counters })
const tunnels = new Map<string, Promise<DatagramTunnel>>()

/** The stream of a client, opened with its first request. */
function tunnelOf(client: string): Promise<DatagramTunnel> {
  const open = async (): Promise<DatagramTunnel> => {
    const tunnel = await openDatagramTunnel(forwarder, { user: client })
    const decoder = new IcmpReplyDecoder()
    tunnel.client.on('data', (chunk: Buffer) => {
      for (const reply of decoder.push(chunk)) console.log(JSON.stringify({ client, reply }))
    })
    return tunnel
  }
  const tunnel = tunnels.get(client) ?? open()
  tunnels.set(client, tunnel)
  return tunnel
}

for await (const line of createInterface({ input: process.stdin })) {
  const { client, ...request } = JSON.parse(line) as Omit<IcmpRequest, 'family'> & { client: string }
  const tunnel = await tunnelOf(client)
  tunnel.client.write(encodeIcmpRequest(request))
}
for (const opening of tunnels.values()) {
  const tunnel = await opening
  tunnel.client.end()
  await tunnel.ended
}
icmp.close()
console.log(JSON.stringify({ counters: counters.snapshot() }))
