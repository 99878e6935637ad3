/** What the bench drives is driven here for a moment, so that it does not rot: `npm test` runs no benchmark. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { layCable } from '../bench/cable.ts'
import type { RelayRequest } from '../bench/delay-relay.ts'
import { EndpointProcess } from '../bench/endpoint-process.ts'
import type { Job } from '../bench/load-job.ts'
import type { LoadRequest } from '../bench/load.ts'
import { modulePath } from '../bench/module-path.ts'
import { AskedProcess, type Place } from '../bench/pinned-process.ts'
import type { TargetRequest, Targets } from '../bench/targets.ts'
import type { EndpointAccess } from '../bench/tunnel-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { networkObstacle } from '../support/routed-network.ts'

const COMMAND = `'${join(import.meta.dirname, '../../scripts/trusttunnel_endpoint')}' --jobs 1`
const obstacle = networkObstacle()

interface Places {
  readonly endpoint: Place
  readonly address: string
  readonly load: Place
  readonly targets: Place
}

const HERE: Places = { endpoint: {}, address: '127.0.0.1', load: {}, targets: {} }

/** An endpoint, targets, and a process for load. */
class Stage implements AsyncDisposable {
  readonly endpoint: EndpointProcess
  readonly targets: Targets
  readonly targetProcess: AskedProcess<TargetRequest>
  readonly #load: AskedProcess<LoadRequest>

  private constructor(
    endpoint: EndpointProcess,
    targets: Targets,
    processes: { targets: AskedProcess<TargetRequest>; load: AskedProcess<LoadRequest> },
  ) {
    this.endpoint = endpoint
    this.targets = targets
    this.targetProcess = processes.targets
    this.#load = processes.load
  }

  static async open({ endpoint: place, address, load, targets }: Places = HERE): Promise<Stage> {
    const endpoint = await EndpointProcess.start({
      command: COMMAND,
      quic: true,
      place,
      address,
      reportsHeap: true,
    })
    const processes = {
      targets: new AskedProcess<TargetRequest>(modulePath('targets.ts'), targets),
      load: new AskedProcess<LoadRequest>(modulePath('load.ts'), load),
    }
    return new Stage(endpoint, await processes.targets.ask<Targets>({ do: 'listen' }), processes)
  }

  /** Starts the job, waits until so much is done, and stops it. */
  async run(job: Job, enough: number, access: EndpointAccess = this.endpoint.access): Promise<void> {
    await this.#load.ask<null>({ do: 'start', job, access })
    const counter = job.kind === 'transfer' && job.direction === 'up' ? this.targetProcess : this.#load
    await expect.poll(() => counter.ask<number>({ do: 'count' })).toBeGreaterThanOrEqual(enough)
    await this.#load.ask<null>({ do: 'stop' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#load[Symbol.asyncDispose]()
    await this.targetProcess[Symbol.asyncDispose]()
    await this.endpoint[Symbol.asyncDispose]()
  }
}

describe('the load of the bench', () => {
  it.each(['h1', 'h2', 'h3'] as const)('does every kind of work over %s', async (protocol) => {
    await using stage = await Stage.open()
    const { blast, sink, echo } = stage.targets
    const transfer = { kind: 'transfer', protocol, sessions: 2, streams: 2 } as const
    await stage.run({ ...transfer, direction: 'down', targets: blast }, 1)
    await stage.run({ ...transfer, direction: 'up', targets: sink }, 1)
    await stage.run({ kind: 'connect', protocol, concurrency: 2, targets: echo }, 3)
    await stage.run({ kind: 'idle', protocol, sessions: 3, tunnels: 6, targets: echo }, 6)
    await stage.run({ kind: 'ping', protocol, targets: echo }, 3)
  })

  it('sends datagrams', async () => {
    await using stage = await Stage.open()
    await stage.run({ kind: 'udp', payloadBytes: 64, inFlight: 2, target: stage.targets.udpEcho }, 3)
  })

  it('goes through the relay that stands for a long way', async () => {
    await using stage = await Stage.open()
    await using relay = new AskedProcess<RelayRequest>(modulePath('delay-relay.ts'), {})
    const { access } = stage.endpoint
    const { address, port } = access
    const relayPort = await relay.ask<number>({ do: 'listen', address, port, delayMs: 10 })
    const job = { kind: 'transfer', direction: 'up', protocol: 'h2', sessions: 1, streams: 1 } as const
    await stage.run({ ...job, targets: stage.targets.sink }, 1, { ...access, port: relayPort })
  })
})

describe('an endpoint under measurement', () => {
  it('shows its memory, its time, the bytes of its threads and what they allocate', async () => {
    await using stage = await Stage.open()
    const { endpoint, targets } = stage
    const fromMs = Date.now()
    const before = await endpoint.writtenBytes()
    const bytes = 1_000_000
    const job = { kind: 'transfer', direction: 'down', protocol: 'h2', sessions: 1, streams: 1 } as const
    await stage.run({ ...job, targets: targets.blast }, bytes)
    const after = await endpoint.writtenBytes()
    const busiest = Math.max(...[...after].map(([thread, count]) => count - (before.get(thread) ?? 0)))
    expect(busiest).toBeGreaterThan(bytes)
    expect(await endpoint.cpuSeconds()).toBeGreaterThan(0)
    expect(await endpoint.peakRssKib()).toBeGreaterThanOrEqual(await endpoint.rssKib())
    await expect.poll(() => endpoint.allocationRate(fromMs, Date.now()).catch(() => 0)).toBeGreaterThan(0)
  })

  it.skipIf(obstacle !== undefined)(
    `serves clients at the other end of a cable${obstacle ? ` (${obstacle})` : ''}`,
    async () => {
      using cable = layCable()
      const { endpointNamespace, endpointAddress, loadNamespace } = cable
      await using stage = await Stage.open({
        endpoint: { namespace: endpointNamespace },
        address: endpointAddress,
        load: { namespace: loadNamespace },
        targets: { namespace: endpointNamespace },
      })
      const { echo } = stage.targets
      await stage.run({ kind: 'connect', protocol: 'h3', concurrency: 1, targets: echo }, 1)
      await stage.run({ kind: 'connect', protocol: 'h2', concurrency: 1, targets: echo }, 1)
    },
  )
})

expectNothingLeftOpen()
