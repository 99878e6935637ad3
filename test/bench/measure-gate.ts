/**
 * What the gate adds to a connection with a CONNECT, a ping and a close: the same work with and without it,
 * alternating.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { GatePorts, GateRequest } from './gate-server.ts'
import type { LoadRequest } from './load.ts'
import type { MeasureOptions } from './measure.ts'
import { modulePath } from './module-path.ts'
import { AskedProcess, type Place } from './pinned-process.ts'
import { median } from './quantile.ts'

const SERVER_NAME = 'vpn.endpoint'
const SLICE_MS = 400
const WARM_UP_SLICES = 2
const CONNECTS_AT_ONCE = 8

/**
 * CPU microseconds that the gate adds, and how many percent that is of the same without it: medians over slices of
 * time.
 */
export async function measureGate(
  places: { readonly server: Place; readonly load: Place },
  { seconds }: Pick<MeasureOptions, 'seconds'>,
): Promise<readonly number[]> {
  await using server = new AskedProcess<GateRequest>(modulePath('gate-server.ts'), places.server)
  const ports = await server.ask<GatePorts>({ do: 'listen', serverName: SERVER_NAME })
  const cost = (port: number): Promise<number> => measureSlice(port, server, places.load)
  const slices = Math.max(5, Math.ceil((seconds * 1000) / SLICE_MS))
  const gated: number[] = []
  const direct: number[] = []
  for (let slice = -WARM_UP_SLICES; slice < slices; slice++) {
    const costs = [await cost(ports.gated), await cost(ports.direct)] as const
    if (slice < 0) continue
    gated.push(costs[0])
    direct.push(costs[1])
  }
  const added = median(gated) - median(direct)
  return [added * 1e6, (added / median(direct)) * 100]
}

/** CPU-seconds of the server for each exchange. */
async function measureSlice(port: number, server: AskedProcess<GateRequest>, place: Place): Promise<number> {
  await using load = new AskedProcess<LoadRequest>(modulePath('load.ts'), place)
  await load.ask<null>({
    do: 'start',
    job: { kind: 'connect', protocol: 'h1', concurrency: CONNECTS_AT_ONCE, targets: ['echo:7'] },
    access: { address: '127.0.0.1', port, serverName: SERVER_NAME, authorization: 'Basic none' },
  })
  await sleep(SLICE_MS / 2)
  const sample = async () => [
    await server.ask<number>({ do: 'cpu' }),
    await load.ask<number>({ do: 'count' }),
  ]
  const [firstCpu = NaN, firstCount = NaN] = await sample()
  await sleep(SLICE_MS)
  const [lastCpu = NaN, lastCount = NaN] = await sample()
  return (lastCpu - firstCpu) / (lastCount - firstCount)
}
