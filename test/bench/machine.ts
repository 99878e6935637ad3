/** Where and when the figures were taken. */
import { arch, cpus, loadavg, release, totalmem } from 'node:os'
import type { Pinning } from './pinned-process.ts'

export interface Machine {
  readonly date: string
  readonly cpu: string
  readonly cores: number
  readonly memoryGib: number
  readonly kernel: string
  readonly node: string
  /** Of the minute before the start: other work on the machine. */
  readonly loadAverage: number
  /** Cores of the endpoint and of everything else; absent without `taskset` or with one core. */
  readonly pinning: Pinning | undefined
}

export function describeMachine(pinning: Pinning | undefined): Machine {
  const processors = cpus()
  return {
    date: new Date().toISOString(),
    cpu: processors[0]?.model ?? 'unknown processor',
    cores: processors.length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: `${release()} ${arch()}`,
    node: process.version,
    loadAverage: loadavg()[0] ?? NaN,
    pinning,
  }
}
