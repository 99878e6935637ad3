/**
 * Hours of everything at once on the endpoint as it is built, and whether anything is left of it:
 *
 *     npm run soak -- --minutes 60 [--seed N]
 *
 * Two lanes, one of which fails once; a reload every minute; clients of all HTTP versions (`lives.ts`) that together keep
 * about one core busy. A line every 30 s, the verdict in the end; exit code 1 when something is wrong.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { GAUGES } from '../../src/counters.ts'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { H2Client } from '../support/h2-client.ts'
import { Random } from '../support/random.ts'
import { live } from './lives.ts'
import type { Stage } from './lives.ts'
import { GUEST, SoakEndpoint } from './soak-endpoint.ts'
import { openTargets } from './soak-targets.ts'
import { Tally } from './tally.ts'
import { growthMib, judge, suspicious } from './verdict.ts'
import type { Sample } from './verdict.ts'

const LANES = 2
/** Not the one with HTTP/3, so that both kinds of lane are seen to go on. */
const MORTAL_LANE = 1
const SAMPLE_MS = 30_000
const RELOAD_MS = 60_000
const PACE_MS = 5000
/** Cores that endpoint and clients together keep busy. */
const CORES = 1
const [MIN_PAUSE_MS, MAX_PAUSE_MS] = [1, 5000]
const SETTLE_MS = 60_000
const MINUTE_MS = 60_000

const { values } = parseArgs({ options: { minutes: { type: 'string' }, seed: { type: 'string' } } })
const minutes = Number(values.minutes ?? 60)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
if (!(minutes > 0) || !Number.isSafeInteger(seed)) {
  console.error('usage: npm run soak -- --minutes 60 [--seed N]')
  process.exit(2)
}

const beganMs = performance.now()
const elapsedMinutes = (): number => (performance.now() - beganMs) / MINUTE_MS
const elapsed = (): string => `${elapsedMinutes().toFixed(1).padStart(5)} min`
const end = new AbortController()
const tally = new Tally((line) => console.log(`${elapsed()}, ${line}`))
const samples: Sample[] = []
await using targets = await openTargets()
await using endpoint = await SoakEndpoint.start(LANES)
const stage: Stage = {
  port: endpoint.port,
  targets,
  random: new Random(seed),
  tally,
  signal: end.signal,
  pauseMs: 100,
}
const descriptorsBefore = await endpoint.descriptors()
console.log(`soak of ${minutes} minutes, seed ${seed}, ${descriptorsBefore} descriptors at rest`)

/** One after another, because the endpoint is asked one question at a time. */
const every = async (periodMs: number, work: () => Promise<void>): Promise<void> => {
  for (let dueMs = performance.now() + periodMs; ; dueMs += periodMs) {
    await sleep(Math.max(0, dueMs - performance.now()), undefined, { signal: end.signal }).catch(() => {})
    if (end.signal.aborted) return
    await work()
  }
}

const background = [
  live(stage),
  every(SAMPLE_MS, sample),
  every(RELOAD_MS, () => tally.run('reload', reload).then(() => {})),
  every(PACE_MS, createPacer()),
  sleep((minutes * MINUTE_MS) / 6).then(failLane),
]
await sleep(minutes * MINUTE_MS)
end.abort()
await Promise.all(background)

const stats = await settle()
const descriptorsAfter = await endpoint.descriptors()
await sample()
const problems = judge({
  samples,
  stats,
  descriptorsBefore,
  descriptorsAfter,
  failures: tally.failures,
  complaints: endpoint.complaints,
  laneFailures: 1,
  gauges: Object.keys(stats).filter(isGauge),
  exitCode: await endpoint.end(),
})
report(problems)
process.exitCode = problems.length === 0 ? 0 : 1

async function sample(): Promise<void> {
  const now = await endpoint.stats()
  const rssMib = (await endpoint.rssKib()) / 1024
  samples.push({ atMinutes: elapsedMinutes(), rssMib })
  const of = (name: string): number => now[name] ?? 0
  const sessions = ['HTTP1', 'HTTP2', 'HTTP3'].map((protocol) => of(`client_sessions{${protocol}}`))
  console.log(
    [
      elapsed(),
      `${rssMib.toFixed(1)} MiB`,
      `${await endpoint.descriptors()} descriptors`,
      `${sessions.join('+')} sessions`,
      `${of('open_streams')} streams`,
      `${of('outbound_tcp_sockets')} sockets`,
      `${tally.succeeded} done`,
      `${tally.failed} failed`,
      `${tally.lost} lost`,
      `pause ${Math.round(stage.pauseMs)} ms`,
      ...suspicious(now),
    ].join(', '),
  )
}

/** Once in the first third, which the verdict on memory leaves out. */
async function failLane(): Promise<void> {
  tally.onLaneFailure()
  await endpoint.failLane(MORTAL_LANE)
  console.log(`${elapsed()}, lane ${MORTAL_LANE} has failed and runs again`)
}

/** The guest is let in, or is not, as the files say. */
async function reload(): Promise<void> {
  const hasGuest = await endpoint.reload()
  await using client = await H2Client.open({ port: endpoint.port })
  const { status } = await client.connect('_check', {
    'proxy-authorization': encodeBasicAuth(GUEST.username, GUEST.password),
  })
  if (status !== (hasGuest ? 200 : 407)) throw new Error(`${status} for the guest`)
}

/** Shortens or lengthens the pauses of the clients, so that all together keep as many cores busy as they should. */
function createPacer(): () => Promise<void> {
  let lastMs = performance.now()
  let lastUsed = Infinity
  return async () => {
    const own = process.cpuUsage()
    const used = (await endpoint.cpuSeconds()) + (own.user + own.system) / 1e6
    const nowMs = performance.now()
    const cores = ((used - lastUsed) * 1000) / (nowMs - lastMs)
    if (cores > 0)
      stage.pauseMs = Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, (stage.pauseMs * cores) / CORES))
    lastMs = nowMs
    lastUsed = used
  }
}

/** The counters once no gauge shows anything any more, or after a minute of waiting for that. */
async function settle(): Promise<Record<string, number>> {
  const deadlineMs = performance.now() + SETTLE_MS
  for (;;) {
    const now = await endpoint.stats()
    const isFree = Object.entries(now).every(([key, value]) => !isGauge(key) || value === 0)
    if (isFree || performance.now() > deadlineMs) return now
    await sleep(200)
  }
}

function isGauge(key: string): boolean {
  return key.replace(/\{.*/, '') in GAUGES
}

function report(found: readonly string[]): void {
  console.log('')
  for (const [name, count] of [...tally.done].toSorted()) console.log(`${String(count).padStart(8)} ${name}`)
  console.log(`
operations ${tally.succeeded}, failed ${tally.failed}, lost with a lane ${tally.lost}, reloads ${endpoint.reloads}
memory ${samples.at(0)?.rssMib.toFixed(1)} MiB at first, ${samples.at(-1)?.rssMib.toFixed(1)} in the end; \
${growthMib(samples).toFixed(1)} of growth over the last two thirds
descriptors ${descriptorsBefore} at rest, ${descriptorsAfter} in the end
`)
  for (const problem of found) console.log(`WRONG: ${problem}`)
  console.log(found.length === 0 ? 'all is well' : `${found.length} things are wrong`)
}
