/** What the kernel says of a process: processor time, memory and the bytes of each thread (proc(5)). */
import { readFile, readdir } from 'node:fs/promises'

/** USER_HZ: the unit of times in /proc, 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100

/** User and system time of all threads so far in seconds, those that have ended included. */
export async function readCpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The name of the program, in parentheses, may hold anything. utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** The resident set in KiB: `VmRSS` now, `VmHWM` the largest so far. */
export async function readMemoryKib(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? NaN)
}

/** Bytes that each thread has handed to `write` and `writev`, which libuv uses for TCP, keyed by thread id. */
export async function readWrittenBytes(pid: number): Promise<ReadonlyMap<string, number>> {
  const threads = await readdir(`/proc/${pid}/task`)
  const bytes = await Promise.all(
    threads.map(async (thread) => {
      try {
        return [thread, parseWrittenBytes(await readFile(`/proc/${pid}/task/${thread}/io`, 'utf8'))] as const
      } catch {
        // The thread has ended since.
        return [thread, 0] as const
      }
    }),
  )
  return new Map(bytes)
}

/** The field `wchar` of a thread's `io` file. */
export function parseWrittenBytes(io: string): number {
  return Number(/^wchar: (\d+)$/m.exec(io)?.[1] ?? NaN)
}

/** Percent of the bytes written between two readings that the `lanes` busiest threads had, the busiest first. */
export function sharesOfThreads(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  lanes: number,
): readonly number[] {
  const written = [...after].map(([thread, bytes]) => bytes - (before.get(thread) ?? 0))
  const busiest = written.toSorted((a, b) => b - a).slice(0, lanes)
  const sum = busiest.reduce((total, bytes) => total + bytes, 0)
  return busiest.map((bytes) => (bytes / sum) * 100)
}

/** Whether a process of this network namespace listens on the TCP port: a row of `tcp` or `tcp6` in state 0A. */
export async function isListening(pid: number, port: number): Promise<boolean> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/${pid}/net/${name}`, 'utf8').catch(() => '')),
  )
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return tables.some((table) => new RegExp(`:${hex} [0-9A-F]+:0000 0A `).test(table))
}
