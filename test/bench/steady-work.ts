/** Rates and costs between two moments of steady work. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Anything whose processor time can be read. */
interface Process {
  cpuSeconds(): Promise<number>
}

export interface SteadyWork {
  readonly endpoint: Process
  /** Clients, targets, and what is between. */
  readonly load: readonly Process[]
  /** What was done so far. */
  readonly count: () => Promise<number>
  readonly warmUpMs: number
  readonly seconds: number
  /** When set, it is measured until so much is done instead. */
  readonly amount?: number | undefined
}

/** Cores that were kept busy: where the load's share is all it has, the load was the limit. */
export interface BusyCores {
  readonly endpoint: number
  readonly load: number
}

export interface Rate {
  readonly perSecond: number
  /** CPU-seconds of the endpoint. */
  readonly cpuEach: number
  readonly busy: BusyCores
  /** Milliseconds since 1970. */
  readonly fromMs: number
  readonly toMs: number
}

interface Sample {
  readonly atMs: number
  readonly count: number
  readonly endpointSeconds: number
  readonly loadSeconds: number
}

const POLL_MS = 20
const LIMIT_MS = 120_000

/** `onBegin` and `onEnd` run at the two moments. Rejects when nothing was done. */
export async function measureRate(
  work: SteadyWork,
  moments: { onBegin?(): Promise<void>; onEnd?(): Promise<void> } = {},
): Promise<Rate> {
  await sleep(work.warmUpMs)
  await moments.onBegin?.()
  const first = await takeSample(work)
  const fromMs = Date.now()
  await waitForEnd(work, first)
  const last = await takeSample(work)
  const toMs = Date.now()
  await moments.onEnd?.()
  const done = last.count - first.count
  if (done <= 0) throw new Error('nothing was done')
  const seconds = (last.atMs - first.atMs) / 1000
  const endpointSeconds = last.endpointSeconds - first.endpointSeconds
  return {
    perSecond: done / seconds,
    cpuEach: endpointSeconds / done,
    busy: { endpoint: endpointSeconds / seconds, load: (last.loadSeconds - first.loadSeconds) / seconds },
    fromMs,
    toMs,
  }
}

async function takeSample({ endpoint, load, count }: SteadyWork): Promise<Sample> {
  const loadTimes = await Promise.all(load.map((process) => process.cpuSeconds()))
  const endpointSeconds = await endpoint.cpuSeconds()
  return {
    endpointSeconds,
    loadSeconds: loadTimes.reduce((sum, time) => sum + time, 0),
    atMs: performance.now(),
    count: await count(),
  }
}

async function waitForEnd({ seconds, amount, count }: SteadyWork, first: Sample): Promise<void> {
  if (amount === undefined) return sleep(seconds * 1000)
  while ((await count()) - first.count < amount) {
    if (performance.now() - first.atMs > LIMIT_MS) throw new Error('the bytes did not pass within the limit')
    await sleep(POLL_MS)
  }
}
