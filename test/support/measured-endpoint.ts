/** An endpoint in a process of its own that tells its figures: counters, descriptors, and the heap of its only lane. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import type { EndpointOptions } from './endpoint.ts'

/** How the process and its lane talk about the heap. */
export const HEAP_CHANNEL = 'culvert-measured-heap'
export type HeapMessage = { readonly type: 'collect' } | { readonly type: 'used'; readonly bytes: number }

export interface Figures {
  readonly stats: Record<string, number>
  /** In use after a collection. */
  readonly heapBytes: number
}

const PROGRAM = new URL('measured-endpoint-process.ts', import.meta.url)

export class MeasuredEndpoint implements AsyncDisposable {
  readonly port: number
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  static async start(options: Omit<EndpointOptions, 'laneThread' | 'clock'>): Promise<MeasuredEndpoint> {
    const child = fork(PROGRAM, [JSON.stringify(options)], { execArgv: ['--expose-gc'] })
    const [message] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown]
    if (typeof message !== 'object' || message === null) throw new Error('the endpoint does not start')
    return new MeasuredEndpoint(child, (message as { port: number }).port)
  }

  async figures(): Promise<Figures> {
    this.#child.send('figures')
    const [figures] = (await once(this.#child, 'message')) as [Figures]
    return figures
  }

  async descriptors(): Promise<number> {
    return (await readdir(`/proc/${this.#child.pid}/fd`)).length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.disconnect()
    await ended
  }
}
