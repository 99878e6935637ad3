/** One row against one running endpoint. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { RelayRequest } from './delay-relay.ts'
import type { EndpointProcess } from './endpoint-process.ts'
import type { AddedRtt, Job } from './load-job.ts'
import type { LoadRequest } from './load.ts'
import { modulePath } from './module-path.ts'
import { AskedProcess, type Place } from './pinned-process.ts'
import type { EndpointWork } from './plan.ts'
import { sharesOfThreads } from './process-figures.ts'
import { measureRate, type BusyCores, type Rate } from './steady-work.ts'
import type { TargetRequest, Targets } from './targets.ts'
import type { EndpointAccess, Protocol } from './tunnel-client.ts'

export interface MeasureOptions {
  /** Length of the measured time. */
  readonly seconds: number
  /** When set, a transfer is measured until so much has passed instead. */
  readonly bytes: number | undefined
  readonly places: { readonly load: Place; readonly targets: Place }
}

export interface Measured {
  /** One for each figure of the row. */
  readonly values: readonly number[]
  readonly busy?: BusyCores
  /** What a reader of the values must know. */
  readonly remark?: string
}

const WARM_UP_SHARE = 0.4
const MIN_WARM_UP_MS = 500
/** Round trips after which windows that grow have grown. */
const WARM_UP_ROUND_TRIPS = 40
const POLL_MS = 20
/** How long the opening of idle tunnels may take. */
const LIMIT_MS = 120_000
const SETTLE_MS = 1500
/** At rest: the resident set is read so often, and has settled when so many readings in a row hardly differ. */
const REST_POLL_MS = 500
const REST_READINGS = 4
const REST_DIFFERENCE = 0.005
const MAX_REST_READINGS = 40
const MIN_PINGS = 100
const GIB = 1_073_741_824
const BASE_TUNNELS = 10
/** Below this share of the bytes a thread is no lane. */
const MIN_LANE_PERCENT = 1

type LoadProcess = AskedProcess<LoadRequest>
type TargetProcess = AskedProcess<TargetRequest>

/** Where the work of a row comes from and goes to. */
interface Stage {
  readonly endpoint: EndpointProcess
  readonly targetProcess: TargetProcess
  readonly targets: Targets
  readonly load: LoadProcess
  readonly options: MeasureOptions
}

/** Rejects when the endpoint cannot do the work. */
export async function measure(
  work: EndpointWork,
  endpoint: EndpointProcess,
  options: MeasureOptions,
): Promise<Measured> {
  if (work.kind === 'rest') return measureRest(endpoint)
  await using targetProcess: TargetProcess = new AskedProcess<TargetRequest>(
    modulePath('targets.ts'),
    options.places.targets,
  )
  const targets = await targetProcess.ask<Targets>({ do: 'listen' })
  await using load = openLoad(options)
  const stage: Stage = { endpoint, targetProcess, targets, load, options }
  // `await` in each case: the processes end when this function does.
  switch (work.kind) {
    case 'ping':
      return await measurePing(work, stage)
    case 'idle':
      return await measureIdle(work, stage)
    case 'transfer':
      return await measureTransfer(work, stage)
    case 'connect':
      return await measureConnects(work, stage)
    case 'udp':
      return await measureDatagrams(work, stage)
  }
}

type WorkOf<Kind extends EndpointWork['kind']> = Extract<EndpointWork, { kind: Kind }>

function openLoad({ places }: MeasureOptions): LoadProcess {
  return new AskedProcess<LoadRequest>(modulePath('load.ts'), places.load)
}

function warmUpMs({ seconds }: MeasureOptions): number {
  return Math.max(MIN_WARM_UP_MS, seconds * 1000 * WARM_UP_SHARE)
}

async function measureTransfer(work: WorkOf<'transfer'>, stage: Stage): Promise<Measured> {
  const { endpoint, targetProcess, targets, load, options } = stage
  const { direction, protocol, sessions, streams, idleSessions = 0, roundTripMs = 0, sharedByLanes } = work
  await using relay = roundTripMs > 0 ? openRelay(options) : undefined
  await using idle = idleSessions > 0 ? await openIdle(protocol, idleSessions, stage) : undefined
  const access =
    relay === undefined ? endpoint.access : await accessThrough(relay, endpoint.access, roundTripMs)
  const ends = direction === 'down' ? targets.blast : targets.sink
  const job: Job = { kind: 'transfer', direction, protocol, sessions, streams, targets: ends }
  await load.ask<null>({ do: 'start', job, access })
  const counter = direction === 'up' ? targetProcess : load
  const written: ReadonlyMap<string, number>[] = []
  const readWritten = async (): Promise<void> => {
    if (sharedByLanes !== undefined) written.push(await endpoint.writtenBytes())
  }
  const rate = await measureRate(
    {
      endpoint,
      load: [load, targetProcess, ...(relay ? [relay] : []), ...(idle ? [idle] : [])],
      count: () => counter.ask({ do: 'count' }),
      warmUpMs: Math.max(warmUpMs(options), roundTripMs * WARM_UP_ROUND_TRIPS),
      seconds: options.seconds,
      amount: options.bytes,
    },
    { onBegin: readWritten, onEnd: readWritten },
  )
  // Throws when the load has failed in the meantime.
  await load.ask<number>({ do: 'count' })
  await idle?.ask<number>({ do: 'count' })
  const values = [rate.perSecond / 1e6, rate.cpuEach * GIB]
  const [before, after] = written
  if (sharedByLanes === undefined || !before || !after) return { values, busy: rate.busy }
  const shares = sharesOfThreads(before, after, sharedByLanes)
  return { values: [...values, shares.at(-1) ?? NaN], busy: rate.busy, ...remarkOn(shares) }
}

function remarkOn(shares: readonly number[]): { remark?: string } {
  const lanes = shares.filter((share) => share >= MIN_LANE_PERCENT).length
  if (lanes === shares.length) return {}
  return { remark: `--jobs ${shares.length} has no effect: of its threads, ${lanes} carried the bytes` }
}

function openRelay({ places }: MeasureOptions): AskedProcess<RelayRequest> {
  return new AskedProcess<RelayRequest>(modulePath('delay-relay.ts'), places.load)
}

async function accessThrough(
  relay: AskedProcess<RelayRequest>,
  access: EndpointAccess,
  roundTripMs: number,
): Promise<EndpointAccess> {
  const { address, port } = access
  const relayPort = await relay.ask<number>({ do: 'listen', address, port, delayMs: roundTripMs / 2 })
  return { ...access, address: '127.0.0.1', port: relayPort }
}

/** Sessions with an idle tunnel each, from a process of their own. */
async function openIdle(protocol: Protocol, sessions: number, stage: Stage): Promise<LoadProcess> {
  const idle = openLoad(stage.options)
  try {
    const { endpoint, targets } = stage
    const job: Job = { kind: 'idle', protocol, sessions, tunnels: sessions, targets: targets.echo }
    await idle.ask<null>({ do: 'start', job, access: endpoint.access }, LIMIT_MS)
    await untilOpen(idle, sessions)
    return idle
  } catch (error) {
    await idle[Symbol.asyncDispose]()
    throw error
  }
}

async function untilOpen(load: LoadProcess, tunnels: number): Promise<void> {
  const deadline = performance.now() + LIMIT_MS
  while ((await load.ask<number>({ do: 'count' })) < tunnels) {
    if (performance.now() > deadline) throw new Error('the tunnels did not open within the limit')
    await sleep(POLL_MS)
  }
}

async function measureConnects(work: WorkOf<'connect'>, stage: Stage): Promise<Measured> {
  const { protocol, concurrency, garbage } = work
  const job: Job = { kind: 'connect', protocol, concurrency, targets: stage.targets.echo }
  const rate = await measureExchanges(job, stage)
  if (!garbage) return { values: [rate.perSecond, rate.cpuEach * 1e6], busy: rate.busy }
  const bytesPerSecond = await stage.endpoint.allocationRate(rate.fromMs, rate.toMs)
  return { values: [bytesPerSecond / rate.perSecond / 1024], busy: rate.busy }
}

async function measureDatagrams(work: WorkOf<'udp'>, stage: Stage): Promise<Measured> {
  const { perSecond, cpuEach, busy } = await measureExchanges(
    { ...work, target: stage.targets.udpEcho },
    stage,
  )
  return { values: [perSecond, cpuEach * 1e6], busy }
}

async function measureExchanges(job: Job, stage: Stage): Promise<Rate> {
  const { endpoint, targetProcess, load, options } = stage
  await load.ask<null>({ do: 'start', job, access: endpoint.access })
  const rate = await measureRate({
    endpoint,
    load: [load, targetProcess],
    count: () => load.ask({ do: 'count' }),
    warmUpMs: warmUpMs(options),
    seconds: options.seconds,
  })
  await load.ask<null>({ do: 'stop' })
  return rate
}

/** The resident set, once it has stopped changing. */
async function measureRest(endpoint: EndpointProcess): Promise<Measured> {
  const readings: number[] = []
  while (readings.length < MAX_REST_READINGS) {
    await sleep(REST_POLL_MS)
    readings.push(await endpoint.rssKib())
    const last = readings.slice(-REST_READINGS)
    const difference = Math.max(...last) - Math.min(...last)
    if (last.length === REST_READINGS && difference <= Math.max(...last) * REST_DIFFERENCE) break
  }
  return { values: [(readings.at(-1) ?? NaN) / 1024] }
}

/** Growth of the resident set per tunnel; some sessions with a tunnel each stand before. */
async function measureIdle(work: WorkOf<'idle'>, stage: Stage): Promise<Measured> {
  const { endpoint, targets, load, options } = stage
  const job: Job = { ...work, targets: targets.echo }
  await using base = openLoad(options)
  await base.ask<null>({ do: 'start', job: { ...job, tunnels: BASE_TUNNELS }, access: endpoint.access })
  await untilOpen(base, BASE_TUNNELS)
  await sleep(SETTLE_MS)
  const before = await endpoint.rssKib()
  await load.ask<null>({ do: 'start', job, access: endpoint.access })
  await untilOpen(load, work.tunnels)
  await sleep(SETTLE_MS)
  await load.ask<number>({ do: 'count' })
  const after = await endpoint.rssKib()
  return { values: [(after - before) / work.tunnels] }
}

async function measurePing(work: WorkOf<'ping'>, stage: Stage): Promise<Measured> {
  const { endpoint, targets, load, options } = stage
  const { access } = endpoint
  await using background = work.underLoad ? openLoad(options) : undefined
  const job: Job = {
    kind: 'transfer',
    direction: 'down',
    protocol: 'h2',
    sessions: 1,
    streams: 8,
    targets: targets.blast,
  }
  await background?.ask<null>({ do: 'start', job, access })
  await load.ask<null>({
    do: 'start',
    job: { kind: 'ping', protocol: work.protocol, targets: targets.echo },
    access,
  })
  await sleep(Math.max(MIN_WARM_UP_MS, options.seconds * 1000))
  const pings = await load.ask<number>({ do: 'count' })
  if (pings < MIN_PINGS) throw new Error(`only ${pings} pings within the time`)
  await background?.ask<number>({ do: 'count' })
  const { p50, p99 } = await load.ask<AddedRtt>({ do: 'result' })
  return { values: [p50, p99] }
}
