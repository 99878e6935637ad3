/**
 * A plain request that its origin has taken for a CONNECT: everything after the origin's head is the content of the
 * response, and what the client sends goes to the origin as it arrives.
 */
import type { Duplex, Writable } from 'node:stream'
import type { PlainExchange } from '../../contract/exchange.ts'
import { Pump } from './pump.ts'
import type { PumpOptions } from './pump.ts'

interface ContentPumps {
  readonly uplink: Pump
  readonly downlink: Pump
}

export function pumpAsConnect(
  request: PlainExchange,
  sink: Writable,
  origin: Duplex,
  head: Buffer,
  onDone: { readonly uplink: PumpOptions['onDone']; readonly downlink: PumpOptions['onDone'] },
): ContentPumps {
  if (head.length > 0) origin.unshift(head)
  return {
    uplink: new Pump(request.body(), origin, { onDone: onDone.uplink }),
    downlink: new Pump(origin, sink, { onDone: onDone.downlink }),
  }
}
