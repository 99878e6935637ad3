/**
 * Processes of the bench: tied to cores where `taskset` is available, controlled over IPC, ended by their pid whatever
 * happens.
 */
import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { readCpuSeconds } from './process-figures.ts'

/** Where a process runs. */
export interface Place {
  /** A list for `taskset`; undefined leaves the choice to the kernel. */
  readonly cores?: string | undefined
  /** A network namespace; undefined for the machine's own. */
  readonly namespace?: string | undefined
}

/** The endpoint has the first core for itself, everything else runs on the others. */
export interface Pinning {
  readonly endpoint: string
  readonly load: string
}

export function findPinning(): Pinning | undefined {
  const cores = availableParallelism()
  if (cores < 2 || spawnSync('taskset', ['-c', '0', 'true']).status !== 0) return undefined
  return { endpoint: '0', load: cores === 2 ? '1' : `1-${cores - 1}` }
}

/** For an endpoint with `lanes` threads: a core for each where the load still has as many, else all share all. */
export function findLanePinning(lanes: number): Pinning | undefined {
  const cores = availableParallelism()
  if (cores < 2 * lanes || findPinning() === undefined) return undefined
  return { endpoint: `0-${lanes - 1}`, load: `${lanes}-${cores - 1}` }
}

const living = new Set<ChildProcess>()

/** Ends every process of the bench when this one ends, however it does. */
export function endChildrenOnExit(): void {
  process.once('exit', () => {
    for (const child of living) child.kill('SIGKILL')
  })
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => process.exit(code))
  }
}

/** `taskset` and `ip netns exec` replace themselves by the command, so the pid is the command's. */
export function spawnPinned(
  { cores, namespace }: Place,
  command: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  const [file = '', ...args] = [
    ...(namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace]),
    ...(cores === undefined ? [] : ['taskset', '-c', cores]),
    ...command,
  ]
  const child = spawn(file, args, options)
  living.add(child)
  child.once('exit', () => living.delete(child))
  child.once('error', () => living.delete(child))
  return child
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** SIGTERM, and SIGKILL after `graceMs`. Resolves when the process is gone. */
export async function endProcess(child: ChildProcess, graceMs: number): Promise<void> {
  if (hasEnded(child) || child.pid === undefined) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const limit = setTimeout(() => child.kill('SIGKILL'), graceMs)
  await gone
  clearTimeout(limit)
}

function reply(message: Reply): void {
  process.send?.(message)
}

interface Envelope<Request> {
  readonly id: number
  readonly request: Request
}

interface Reply {
  readonly id: number
  readonly value?: unknown
  readonly error?: string
}

/**
 * The side of a process that answers; `answer` takes the `Request` of its {@link AskedProcess}. It ends when the bench
 * does.
 */
export function serveRequests(answer: (request: never) => Promise<unknown>): void {
  process.on('disconnect', () => process.exit())
  process.on('message', ({ id, request }: Envelope<never>) => {
    answer(request).then(
      (value) => reply({ id, value }),
      (error: unknown) => reply({ id, error: error instanceof Error ? error.message : String(error) }),
    )
  })
}

/** The side that asks. */
export class AskedProcess<Request> {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  #nextId = 0

  constructor(module: string, place: Place) {
    this.#child = spawnPinned(place, [process.execPath, module], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#child.on('message', ({ id, value, error }: Reply) => {
      const waiting = this.#waiting.get(id)
      if (error === undefined) waiting?.resolve(value)
      else waiting?.reject(new Error(error))
    })
    const onGone = (): void => {
      for (const waiting of this.#waiting.values()) waiting.reject(new Error(`${module} has ended`))
    }
    this.#child.once('exit', onGone)
    this.#child.on('error', onGone)
  }

  /** Rejects with what the other side threw, when it ends, or after `limitMs`. `Answer` is the asker's word. */
  async ask<Answer>(request: Request, limitMs = 15_000): Promise<Answer> {
    const id = this.#nextId++
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#waiting.set(id, { resolve, reject })
    const limit = setTimeout(() => reject(new Error('no answer within the limit')), limitMs)
    this.#child.send({ id, request } satisfies Envelope<Request>, (error) => {
      if (error) reject(error)
    })
    try {
      return (await promise) as Answer
    } finally {
      clearTimeout(limit)
      this.#waiting.delete(id)
    }
  }

  /** Processor time so far. */
  async cpuSeconds(): Promise<number> {
    return this.#child.pid === undefined ? 0 : readCpuSeconds(this.#child.pid)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endProcess(this.#child, 1000)
  }
}
