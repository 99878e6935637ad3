/**
 * All lanes of the process: starts them, starts them again when they die, and asks them as one. What a dead lane held is
 * given back as soon as its thread is gone; the others never notice.
 */
import { systemClock } from '../clock.ts'
import type { Clock } from '../clock.ts'
import { Counters } from '../counters.ts'
import type { LaneAnswers, LaneBirth, LaneQuestion, ListenAddress } from '../lane/messages.ts'
import type { Log } from '../log.ts'
import type { ChangeQueue } from './change-queue.ts'
import { CrashBudget } from './crash-budget.ts'
import { LaneHandle } from './lane-handle.ts'
import { LaneStats } from './lane-stats.ts'
import { LaneWatch, MAX_SILENCE_SECS } from './lane-watch.ts'

interface LanesOptions {
  readonly count: number
  /** What a lane is started with now. */
  readonly birthOf: (lane: number, isHeir: boolean) => LaneBirth
  /** A lane's thread has ended: what it held is free. */
  readonly onGone: (lane: number) => void
  /** The module that the threads run. */
  readonly thread: URL
  readonly port: number
  readonly changes: ChangeQueue
  readonly writeLog: (lines: string) => void
  readonly log: Log
  readonly clock: Clock
}

/** Where a lane is, whichever thread it has. */
interface Berth {
  readonly lane: number
  handle: LaneHandle
  state: 'starting' | 'running' | 'dead'
}

export class Lanes {
  readonly #options: LanesOptions
  readonly #berths: Berth[]
  readonly #crashes: CrashBudget
  readonly #stats = new LaneStats()
  readonly #counters = new Counters()
  readonly #ended = Promise.withResolvers<void>()
  #port: number
  #started = false
  #ending = false

  constructor(options: LanesOptions) {
    this.#options = options
    this.#port = options.port
    this.#crashes = new CrashBudget(options.clock)
    this.#ended.promise.catch(() => {})
    // All at once: most of a start is loading modules.
    this.#berths = Array.from({ length: options.count }, (_, lane) => this.#open(lane))
    for (const berth of this.#berths) this.#watch(berth)
    const watch = new LaneWatch({
      // The lanes' time is the system's, whatever the control thread's is.
      clock: systemClock,
      running: () => this.#running().map(({ handle }) => handle),
      onSilent: (handle) => this.#onSilence(handle),
    })
    this.#ended.promise.finally(() => watch.close()).catch(() => {})
  }

  /** Resolves when all lanes have ended on request; rejects when too many have died, or one cannot be got rid of. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /** Resolves when all lanes accept connections; rejects when one does not. */
  async start(): Promise<ListenAddress> {
    let first: ListenAddress | undefined
    // One after another, because the first decides which port it is.
    for (const berth of this.#berths) {
      const address = await this.#start(berth)
      this.#port = address.port
      first ??= address
    }
    if (first === undefined) throw new Error('there are no lanes')
    this.#started = true
    return first
  }

  /** Asks every lane that runs; rejects when one refuses or dies, or none runs. */
  async askAll<Q extends LaneQuestion>(question: Q): Promise<LaneAnswers[Q['type']][]> {
    const running = this.#running()
    if (running.length === 0) throw new Error('the lane has ended')
    return Promise.all(running.map(({ handle }) => handle.ask(question)))
  }

  /** Tells every lane that runs, and waits until each has done it or died. */
  async tellAll(question: LaneQuestion): Promise<void> {
    await Promise.allSettled(this.#running().map(({ handle }) => handle.ask(question)))
  }

  /** Counters and gauges, summed. Rejects when no lane answers. */
  async stats(): Promise<Record<string, number>> {
    const answers = await Promise.all(
      this.#running().map(async ({ lane, handle }) => {
        const stats = await handle.ask({ type: 'stats' }).catch(() => undefined)
        return [lane, stats] as const
      }),
    )
    const live = new Map(answers.flatMap(([lane, stats]) => (stats === undefined ? [] : [[lane, stats]])))
    if (live.size === 0) throw new Error('the lane has ended')
    return { ...this.#stats.sum(live), ...this.#counters.snapshot() }
  }

  /** Ends all threads now; `ended` tells when they are gone. Idempotent. */
  async terminate(): Promise<void> {
    this.#ending = true
    const ends = await Promise.allSettled(this.#berths.map(({ handle }) => handle.terminate()))
    const stuck = ends.find((end) => end.status === 'rejected')
    if (stuck === undefined) this.#ended.resolve()
    else this.#ended.reject(stuck.reason as Error)
  }

  /** No lane is started again from now on. */
  beginEnd(): void {
    this.#ending = true
  }

  #running(): Berth[] {
    return this.#berths.filter(({ state }) => state === 'running')
  }

  #open(lane: number, isHeir = false): Berth {
    return { lane, handle: this.#spawn(lane, isHeir), state: 'starting' }
  }

  #spawn(lane: number, isHeir: boolean): LaneHandle {
    const { birthOf, thread, writeLog, clock } = this.#options
    return new LaneHandle({ birth: birthOf(lane, isHeir), thread, writeLog, clock })
  }

  async #start(berth: Berth): Promise<ListenAddress> {
    const address = await berth.handle.ask({ type: 'start', port: this.#port })
    berth.state = 'running'
    return address
  }

  #watch(berth: Berth): void {
    berth.handle.ended.catch((error: unknown) => this.#onDeath(berth, error))
  }

  #onSilence(handle: LaneHandle): void {
    this.#counters.count('lanes_silent')
    const failure = new Error(`the event loop of a lane has stood still for ${MAX_SILENCE_SECS} s`)
    handle.giveUp(Object.assign(failure, { code: 'lane_silent' }))
  }

  #onDeath(berth: Berth, error: unknown): void {
    if (berth.state === 'dead') return
    berth.state = 'dead'
    if (this.#ending) return
    this.#stats.onDeath(berth.lane)
    // A start that fails has its own answer.
    if (!this.#started) return this.#fail(error)
    if (!this.#crashes.spend()) {
      this.#options.log.error({ lane: berth.lane }, 'lanes have failed too often: the process ends')
      return this.#fail(error)
    }
    const code = error instanceof Error && 'code' in error ? error.code : 'internal'
    this.#options.log.error({ lane: berth.lane, code, err: error }, 'a lane has failed and is started again')
    this.#replace(berth).catch((reason: unknown) => this.#fail(reason))
  }

  async #replace(berth: Berth): Promise<void> {
    // Not while it may still have its port, its locks and its sessions.
    await berth.handle.terminate()
    this.#options.onGone(berth.lane)
    // Behind a change that is under way: the lane begins with what is in force then.
    await this.#options.changes.request(`lane ${berth.lane}`, () => this.#restart(berth))
  }

  async #restart(berth: Berth): Promise<void> {
    if (this.#ending) return
    berth.handle = this.#spawn(berth.lane, true)
    berth.state = 'starting'
    this.#watch(berth)
    try {
      await this.#start(berth)
      this.#options.log.info({ lane: berth.lane }, 'the lane runs again')
    } catch (error) {
      this.#onDeath(berth, error)
    }
  }

  #fail(error: unknown): void {
    if (this.#ending) return
    this.#ended.reject(error instanceof Error ? error : new Error(String(error)))
    void this.terminate()
  }
}
