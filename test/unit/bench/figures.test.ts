import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { allocationRate } from '../../bench/heap-log.ts'
import { modulePath } from '../../bench/module-path.ts'
import {
  isListening,
  parseWrittenBytes,
  readCpuSeconds,
  readMemoryKib,
  sharesOfThreads,
} from '../../bench/process-figures.ts'
import { expectNothingLeftOpen } from '../../support/leak-check.ts'

describe('what an endpoint allocates', () => {
  it('is the sum over its threads, between their lines within the time', () => {
    const log = [
      '0 900 5',
      '0 1000 100',
      '1 1000 0',
      '0 1500 150',
      '1 2000 1000',
      '0 2000 300',
      '0 9000 9999',
      '',
    ]
    expect(allocationRate(log.join('\n'), 1000, 2000)).toBe(200 + 1000)
  })

  it('is unknown without two lines of one thread', () => {
    expect(allocationRate('', 0, 9000)).toBeNaN()
    expect(allocationRate('0 1000 100\n1 1100 100\n', 0, 9000)).toBeNaN()
    expect(allocationRate('0 1000 100\n0 2000 200\n', 1500, 9000)).toBeNaN()
  })

  it('ignores a line that is being written, and other output', () => {
    expect(allocationRate('0 1000 100\nnot a line\n0 2000 200\n0 3000 2', 0, 9000)).toBe(100)
  })

  it('is reported by every thread of a program for Node that is told to import the report', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'culvert-heap-'))
    try {
      const file = join(directory, 'heap.log')
      writeFileSync(join(directory, 'program.mjs'), ALLOCATING_PROGRAM)
      const child = spawn(process.execPath, ['program.mjs'], {
        cwd: directory,
        stdio: 'ignore',
        env: {
          ...process.env,
          NODE_OPTIONS: `--import=${pathToFileURL(modulePath('heap-report.mjs')).href}`,
          CULVERT_BENCH_HEAP_FILE: file,
        },
      })
      expect(await once(child, 'exit')).toEqual([0, null])
      const log = readFileSync(file, 'utf8')
      expect(log).toMatch(/^0 \d+ \d+$/m)
      expect(log).toMatch(/^1 \d+ \d+$/m)
      const worker = [...log.matchAll(/^1 \d+ (\d+)$/gm)].map(([, bytes]) => Number(bytes))
      expect((worker.at(-1) ?? 0) - (worker[0] ?? 0)).toBeGreaterThan(20_000_000)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

/** Its worker allocates a megabyte of garbage at least 40 times, and both live until the report has seen that. */
const ALLOCATING_PROGRAM = `
import { Worker, isMainThread } from 'node:worker_threads'
import { readFileSync } from 'node:fs'
if (isMainThread) new Worker(new URL(import.meta.url))
let rounds = 0
const timer = setInterval(() => {
  if (!isMainThread) for (let n = 0; n < 1000; n++) globalThis.garbage = new Array(128).fill(n)
  rounds++
  const seen = readFileSync(process.env.CULVERT_BENCH_HEAP_FILE, { encoding: 'utf8', flag: 'a+' })
  if (rounds >= 40 && seen.split('\\n').filter((line) => line.startsWith('1 ')).length >= 6) clearInterval(timer)
}, 5)
`

describe('the share of a lane', () => {
  it('is that of the busiest threads in what they have written between two readings', () => {
    const before = new Map([
      ['1', 5000],
      ['2', 100],
      ['3', 100],
    ])
    const after = new Map([
      ['1', 5001],
      ['2', 400],
      ['3', 800],
      ['4', 1],
    ])
    expect(sharesOfThreads(before, after, 2)).toEqual([70, 30])
  })

  it('is nothing for a lane that is not there', () => {
    expect(
      sharesOfThreads(
        new Map([['1', 0]]),
        new Map([
          ['1', 500],
          ['2', 0],
        ]),
        2,
      ),
    ).toEqual([100, 0])
  })

  it('is read from the bytes of a thread', () => {
    expect(parseWrittenBytes('rchar: 10\nwchar: 321\nsyscr: 2\n')).toBe(321)
  })
})

describe('what the kernel says of a process', () => {
  it('has its processor time and memory', async () => {
    expect(await readCpuSeconds(process.pid)).toBeGreaterThan(0)
    // One after the other: the process grows meanwhile.
    const now = await readMemoryKib(process.pid, 'VmRSS')
    const largest = await readMemoryKib(process.pid, 'VmHWM')
    expect(now).toBeGreaterThan(1000)
    expect(largest).toBeGreaterThanOrEqual(now)
  })

  it.each(['127.0.0.1', '::1'])('tells a port of %s that listens from one that does not', async (host) => {
    const server = createServer().listen(0, host)
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    expect(await isListening(process.pid, port)).toBe(true)
    server.close()
    await once(server, 'close')
    expect(await isListening(process.pid, port)).toBe(false)
  })
})

expectNothingLeftOpen()
