/**
 * One row against one running endpoint. Processor time is that of the endpoint's process between two moments of steady
 * work.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { EndpointProcess } from './endpoint-process.ts'
import type { AddedRtt, Job } from './load-job.ts'
import type { LoadRequest } from './load.ts'
import { modulePath } from './module-path.ts'
import { AskedProcess } from './pinned-process.ts'
import type { EndpointWork } from './plan.ts'
import type { TargetRequest, Targets } from './targets.ts'

export interface MeasureOptions {
  /** Length of the measured time. */
  readonly seconds: number
  /** When set, a transfer is measured until so much has passed instead. */
  readonly bytes: number | undefined
  /** Cores of load and targets. */
  readonly cores: string | undefined
}

const WARM_UP_SHARE = 0.4
const MIN_WARM_UP_MS = 500
const POLL_MS = 20
/** How long a measurement by bytes, or the opening of idle tunnels, may take. */
const LIMIT_MS = 120_000
const SETTLE_MS = 1500
const MIN_PINGS = 100
const GIB = 1_073_741_824
const BASE_TUNNELS = 10

type LoadProcess = AskedProcess<LoadRequest>
type TargetProcess = AskedProcess<TargetRequest>

/** Gives one value per figure of the row. Rejects when the endpoint cannot do the work. */
export async function measure(
  work: EndpointWork,
  endpoint: EndpointProcess,
  options: MeasureOptions,
): Promise<readonly number[]> {
  await using targetProcess: TargetProcess = new AskedProcess<TargetRequest>(
    modulePath('targets.ts'),
    options.cores,
  )
  const targets = await targetProcess.ask<Targets>({ do: 'listen' })
  await using load: LoadProcess = openLoad(options)
  const job = jobOf(work, targets)
  const start = { do: 'start', job, access: endpoint.access } as const
  // `await` in each case: the processes end when this function does.
  switch (work.kind) {
    case 'ping':
      return await measurePing(work.underLoad, start, load, targets, options)
    case 'idle':
      return await measureIdle(work.tunnels, start, load, endpoint, options)
    case 'transfer': {
      await load.ask<null>(start)
      const counter = work.direction === 'up' ? targetProcess : load
      const { perSecond, cpuEach } = await measureRate(
        () => counter.ask({ do: 'count' }),
        load,
        endpoint,
        options,
      )
      return [perSecond / 1e6, cpuEach * GIB]
    }
    default: {
      await load.ask<null>(start)
      const byTime = { ...options, bytes: undefined }
      const { perSecond, cpuEach } = await measureRate(
        () => load.ask({ do: 'count' }),
        load,
        endpoint,
        byTime,
      )
      return [perSecond, cpuEach * 1e6]
    }
  }
}

function openLoad(options: MeasureOptions): LoadProcess {
  return new AskedProcess<LoadRequest>(modulePath('load.ts'), options.cores)
}

function jobOf(work: EndpointWork, targets: Targets): Job {
  switch (work.kind) {
    case 'transfer':
      return { ...work, targets: work.direction === 'down' ? targets.blast : targets.sink }
    case 'udp':
      return { ...work, target: targets.udpEcho }
    default:
      return { ...work, targets: targets.echo }
  }
}

interface Sample {
  readonly atMs: number
  readonly cpuSeconds: number
  readonly count: number
}

/** Things done per second and the endpoint's CPU-seconds for each. */
async function measureRate(
  count: () => Promise<number>,
  load: LoadProcess,
  endpoint: EndpointProcess,
  options: MeasureOptions,
): Promise<{ perSecond: number; cpuEach: number }> {
  const sample = async (): Promise<Sample> => {
    const cpuSeconds = await endpoint.cpuSeconds()
    return { cpuSeconds, atMs: performance.now(), count: await count() }
  }
  await sleep(Math.max(MIN_WARM_UP_MS, options.seconds * 1000 * WARM_UP_SHARE))
  const first = await sample()
  await waitForEnd(first, count, options)
  const last = await sample()
  // Throws when the load has failed in the meantime.
  await load.ask<number>({ do: 'count' })
  await load.ask<null>({ do: 'stop' })
  const done = last.count - first.count
  if (done <= 0) throw new Error('nothing was done')
  return {
    perSecond: (done / (last.atMs - first.atMs)) * 1000,
    cpuEach: (last.cpuSeconds - first.cpuSeconds) / done,
  }
}

async function waitForEnd(
  first: Sample,
  count: () => Promise<number>,
  options: MeasureOptions,
): Promise<void> {
  if (options.bytes === undefined) return sleep(options.seconds * 1000)
  while ((await count()) - first.count < options.bytes) {
    if (performance.now() - first.atMs > LIMIT_MS) throw new Error('the bytes did not pass within the limit')
    await sleep(POLL_MS)
  }
}

type StartRequest = Extract<LoadRequest, { do: 'start' }>

/** Growth of the resident set per tunnel; some sessions with a tunnel each stand before. */
async function measureIdle(
  tunnels: number,
  start: StartRequest,
  load: LoadProcess,
  endpoint: EndpointProcess,
  options: MeasureOptions,
): Promise<readonly number[]> {
  await using base = openLoad(options)
  await base.ask<null>({ ...start, job: { ...start.job, tunnels: BASE_TUNNELS } as Job })
  await sleep(SETTLE_MS)
  const before = await endpoint.rssKib()
  await load.ask<null>(start)
  const deadline = performance.now() + LIMIT_MS
  while ((await load.ask<number>({ do: 'count' })) < tunnels) {
    if (performance.now() > deadline) throw new Error('the tunnels did not open within the limit')
    await sleep(POLL_MS)
  }
  await sleep(SETTLE_MS)
  await load.ask<number>({ do: 'count' })
  const after = await endpoint.rssKib()
  return [(after - before) / tunnels]
}

async function measurePing(
  underLoad: boolean,
  start: StartRequest,
  load: LoadProcess,
  targets: Targets,
  options: MeasureOptions,
): Promise<readonly number[]> {
  await using background = underLoad ? openLoad(options) : undefined
  const job: Job = { kind: 'transfer', direction: 'down', protocol: 'h2', streams: 8, targets: targets.blast }
  await background?.ask<null>({ ...start, job })
  await load.ask<null>(start)
  await sleep(Math.max(MIN_WARM_UP_MS, options.seconds * 1000))
  const pings = await load.ask<number>({ do: 'count' })
  if (pings < MIN_PINGS) throw new Error(`only ${pings} pings within the time`)
  await background?.ask<number>({ do: 'count' })
  const { p50, p99 } = await load.ask<AddedRtt>({ do: 'result' })
  return [p50, p99]
}
