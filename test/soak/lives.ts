/** Clients of the soak, from the handshake to the end: each opens a session, does this and that, and leaves or dies. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../support/random.ts'
import { OPERATIONS } from './operations.ts'
import type { Scene } from './operations.ts'
import { USER } from './soak-endpoint.ts'
import { PROTOCOLS, drain } from './soak-sessions.ts'
import type { Protocol, SoakSession } from './soak-sessions.ts'
import type { SoakTargets } from './soak-targets.ts'
import type { Tally } from './tally.ts'

/** Side by side, at any time. */
const CLIENTS: readonly Protocol[] = [1, 2, 3, 4].flatMap(() => ['HTTP1', 'HTTP2', 'HTTP2', 'HTTP3'] as const)
const VISITORS: readonly Protocol[] = ['HTTP1', 'HTTP2', 'HTTP3']
const VISITOR_PAUSE_MS = 1000
const OPERATIONS_OF_A_LIFE = 40
const AT_A_TIME = 20
const TOTAL_WEIGHT = OPERATIONS.reduce((total, [, weight]) => total + weight, 0)

export interface Stage {
  readonly port: number
  readonly targets: SoakTargets
  readonly random: Random
  readonly tally: Tally
  readonly signal: AbortSignal
  /** How long a client waits between two operations, on the average; whoever watches the load changes it. */
  pauseMs: number
}

/** Resolves when `signal` has ended all of them. */
export async function live(stage: Stage): Promise<void> {
  await Promise.all([
    ...CLIENTS.map((protocol) => again(stage, () => liveAsUser(stage, protocol))),
    ...VISITORS.map((protocol) => again(stage, () => visit(stage, protocol))),
  ])
}

async function again({ signal }: Stage, life: () => Promise<void>): Promise<void> {
  while (!signal.aborted) await life()
}

async function openSession(stage: Stage, protocol: Protocol): Promise<SoakSession | undefined> {
  let session: SoakSession | undefined
  await stage.tally.run(`${protocol} handshake`, async () => {
    session = await PROTOCOLS[protocol](stage.port)
  })
  return session
}

async function pause({ random, pauseMs }: Stage): Promise<void> {
  await sleep(random.below(2 * pauseMs + 1))
}

async function liveAsUser(stage: Stage, protocol: Protocol): Promise<void> {
  const session = await openSession(stage, protocol)
  if (session === undefined) return sleep(1000)
  const scene: Scene = { session, targets: stage.targets, random: stage.random }
  const running = new Set<Promise<unknown>>()
  const operations = 1 + stage.random.below(OPERATIONS_OF_A_LIFE)
  for (let count = 0; count < operations && !stage.signal.aborted && !session.isLost; count++) {
    const [name, operation] = choose(stage.random)
    const run = stage.tally.run(`${protocol} ${name}`, () => operation(scene))
    running.add(run)
    void run.then(() => running.delete(run))
    if (running.size >= AT_A_TIME) await Promise.race(running)
    await pause(stage)
  }
  await Promise.all(running)
  if (stage.random.oneIn(3)) await stage.tally.run(`${protocol} death`, () => die(scene))
  else await stage.tally.run(`${protocol} end`, () => session.end())
}

/** In the middle of what it does. */
async function die({ session, targets }: Scene): Promise<void> {
  if (!session.isLost) {
    const { stream } = await session.connect(targets.echo, USER)
    stream.write('last words')
  }
  session.kill()
}

async function visit(stage: Stage, protocol: Protocol): Promise<void> {
  const session = await openSession(stage, protocol)
  if (session === undefined) return sleep(1000)
  for (const [path, status] of [
    ['/', 200],
    ['/nothing-here', 404],
  ] as const) {
    await stage.tally.run(`${protocol} page`, async () => {
      const answer = await session.get(path)
      if (answer.status !== status) throw new Error(`${answer.status} for ${path}`)
      if ((await drain(answer.stream)) === 0) throw new Error('an empty page')
    })
    await sleep(stage.random.below(VISITOR_PAUSE_MS))
  }
  await stage.tally.run(`${protocol} end`, () => session.end())
}

function choose(random: Random): readonly [string, (scene: Scene) => Promise<void>] {
  let rest = random.below(TOTAL_WEIGHT)
  for (const [name, weight, operation] of OPERATIONS) {
    rest -= weight
    if (rest < 0) return [name, operation]
  }
  throw new Error('the weights do not add up')
}
