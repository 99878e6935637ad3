/**
 * One lane's thread, controlled by messages. A handle belongs to one thread for its whole life: to start the lane
 * again, make another handle.
 */
import { Worker } from 'node:worker_threads'
import type { Clock } from '../clock.ts'
import type {
  FromLane,
  LaneAnswers,
  LaneBirth,
  LaneFault,
  LaneQuestion,
  LaneThreadData,
} from '../lane/messages.ts'

interface LaneHandleOptions {
  readonly birth: LaneBirth
  /** The module that the thread runs. */
  readonly thread: URL
  /** Takes complete log lines, newlines included. */
  readonly writeLog: (lines: string) => void
  readonly clock: Clock
}

/** A thread that is inside native code cannot be stopped from outside. */
const TERMINATE_PATIENCE_MS = 2000

export class LaneHandle {
  readonly #worker: Worker
  readonly #clock: Clock
  readonly #beats = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>()
  readonly #ended = Promise.withResolvers<void>()
  readonly #gone = Promise.withResolvers<void>()
  #questions = 0
  #state: 'running' | 'terminating' | 'ended' = 'running'
  /** What the thread died of. */
  #failure: Error | undefined

  constructor({ birth, thread, writeLog, clock }: LaneHandleOptions) {
    this.#clock = clock
    const workerData: LaneThreadData = { ...birth, beats: this.#beats.buffer }
    this.#worker = new Worker(thread, { workerData })
    this.#worker.on('message', (message: FromLane) => {
      if (message.type === 'log') writeLog(message.lines)
      else if (message.type === 'end') this.#onEnd(errorOf(message.fault))
      else this.#settle(message)
    })
    // Only for what the lane could not report itself: its module did not load, or it ran out of memory.
    this.#worker.on('error', (error: unknown) =>
      this.#onEnd(error instanceof Error ? error : new Error(String(error))),
    )
    this.#worker.on('exit', (code) => {
      this.#onEnd(this.#state === 'running' ? new Error(`lane exited with ${code}`) : undefined)
      this.#gone.resolve()
    })
    this.#ended.promise.catch(() => {})
  }

  /** Resolves when the thread has ended on request; rejects with what it died of, when it may not be gone yet. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /** Grows as long as the thread's event loop goes round. */
  get beats(): number {
    return Atomics.load(this.#beats, 0)
  }

  /** The lane has failed without saying so itself. Its thread is there until {@link terminate}. */
  giveUp(failure: Error): void {
    this.#onEnd(failure)
  }

  /** Rejects when the lane refuses, and when it has ended or ends before it answers. */
  ask<Q extends LaneQuestion>(question: Q): Promise<LaneAnswers[Q['type']]> {
    if (this.#state === 'ended') return Promise.reject(this.#endError())
    const id = ++this.#questions
    const answer = Promise.withResolvers<unknown>()
    this.#pending.set(id, answer)
    this.#worker.postMessage({ ...question, id })
    // The thread keeps to the same table (`lane/thread.ts`).
    return answer.promise as Promise<LaneAnswers[Q['type']]>
  }

  /** Resolves when the thread is gone; rejects when it does not go. */
  async terminate(): Promise<void> {
    if (this.#state === 'running') this.#state = 'terminating'
    const stuck = Promise.withResolvers<void>()
    const patience = this.#clock.after(TERMINATE_PATIENCE_MS, () => {
      const error = new Error('the thread of a lane does not end')
      this.#onEnd(error)
      stuck.reject(error)
    })
    this.#worker.terminate().catch(() => {})
    await Promise.race([this.#gone.promise, stuck.promise]).finally(() => patience.cancel())
  }

  #settle(message: Extract<FromLane, { id: number }>): void {
    const answer = this.#pending.get(message.id)
    this.#pending.delete(message.id)
    if (message.type === 'answer') answer?.resolve(message.value)
    else answer?.reject(errorOf(message.fault))
  }

  #onEnd(error: Error | undefined): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#failure = error
    if (error) this.#ended.reject(error)
    else this.#ended.resolve()
    for (const answer of this.#pending.values()) answer.reject(this.#endError())
    this.#pending.clear()
  }

  #endError(): Error {
    return new Error('the lane has ended', this.#failure && { cause: this.#failure })
  }
}

function errorOf({ message, code, stack }: LaneFault): Error {
  return Object.assign(new Error(message), { stack, ...(code !== undefined && { code }) })
}
