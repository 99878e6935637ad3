/** The work of a load process, as the bench requests it over IPC. */
import type { EndpointAccess, Protocol } from './tunnel-client.ts'

/** `targets` are authorities; a job spreads its tunnels over them, because one address has only 28,000 ports. */
export type Job =
  | {
      readonly kind: 'transfer'
      readonly direction: 'down' | 'up'
      readonly protocol: Protocol
      readonly sessions: number
      /** Of each session. */
      readonly streams: number
      readonly targets: readonly string[]
    }
  | {
      readonly kind: 'connect'
      readonly protocol: Protocol
      readonly concurrency: number
      readonly targets: readonly string[]
    }
  | {
      readonly kind: 'idle'
      readonly protocol: Protocol
      readonly sessions: number
      readonly tunnels: number
      readonly targets: readonly string[]
    }
  | {
      readonly kind: 'udp'
      readonly payloadBytes: number
      readonly inFlight: number
      readonly target: { readonly address: string; readonly port: number }
    }
  | { readonly kind: 'ping'; readonly protocol: Protocol; readonly targets: readonly string[] }

/** Added round-trip time in microseconds. */
export interface AddedRtt {
  readonly p50: number
  readonly p99: number
}

export interface RunningJob {
  /** What was done so far: bytes received, exchanges, echoes, tunnels, pings. Throws when the job has failed. */
  count(): number
  /** Only `ping` has a result. */
  result?(): AddedRtt
  stop(): void
}

export type StartJob<Kind extends Job['kind']> = (
  job: Extract<Job, { kind: Kind }>,
  access: EndpointAccess,
) => Promise<RunningJob>

/** Counts, and remembers the first failure for {@link RunningJob.count}. */
export class Progress {
  #done = 0
  #failure: Error | undefined

  add(amount: number): void {
    this.#done += amount
  }

  fail(error: Error | undefined): void {
    this.#failure ??= error ?? new Error('tunnel has ended')
  }

  count(): number {
    if (this.#failure) throw this.#failure
    return this.#done
  }
}
