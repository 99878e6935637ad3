/**
 * The check at the end of every file whose tests open sockets: after the last test and the last hook, the process has
 * nothing open that it did not have before the first one. Linux only, like the endpoint.
 */
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { aroundAll } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Clock, Timer } from '../../src/clock.ts'

const PATIENCE_MS = 10_000
const POLL_MS = 20
const SOCKET_TABLES = ['tcp', 'tcp6', 'udp', 'udp6', 'raw', 'raw6']
const LISTENING = '0A'

/** Call in the last line of a test file. */
export function expectNothingLeftOpen({ patienceMs = PATIENCE_MS } = {}): void {
  // Around everything: no hook, wherever it is in the file, runs after this one.
  aroundAll(async (runFile) => {
    const check = new LeakCheck()
    try {
      await runFile()
      await check.settle(patienceMs)
    } finally {
      check.end()
    }
  })
}

/** Finds what has been opened since it was created. Until it ends, temporary files go to a directory of its own. */
export class LeakCheck {
  readonly #temporary: string
  readonly #temporaryBefore = process.env['TMPDIR']
  readonly #timers = new Set<string>()
  readonly #clock: Clock = { ...systemClock }
  readonly #before: readonly string[]

  constructor() {
    this.#temporary = mkdtempSync(join(tmpdir(), 'culvert-file-'))
    process.env['TMPDIR'] = this.#temporary
    this.#watchTimers()
    this.#before = listOpen()
  }

  /** One line for each thing that is open now but was not before. */
  left(): string[] {
    // The endpoint's private directory is removed with the process; its contents need not wait for that.
    const files = readdirSync(this.#temporary, { recursive: true, encoding: 'utf8' }).filter(
      (name) => join(this.#temporary, name) !== tmpdir(),
    )
    const left = [...listOpen(), ...this.#timers, ...files.map((name) => `file ${name}`)]
    for (const known of this.#before) {
      const at = left.indexOf(known)
      if (at >= 0) left.splice(at, 1)
    }
    return left.map(explain)
  }

  /** Waits until nothing is left; rejects with a list of what is left when that takes too long. */
  async settle(patienceMs: number = PATIENCE_MS): Promise<void> {
    const deadline = performance.now() + patienceMs
    let left = this.left()
    while (left.length > 0) {
      if (performance.now() > deadline) throw new Error(`left open after the tests:\n  ${left.join('\n  ')}`)
      await sleep(POLL_MS)
      left = this.left()
    }
  }

  end(): void {
    Object.assign(systemClock, this.#clock)
    if (this.#temporaryBefore === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = this.#temporaryBefore
    rmSync(this.#temporary, { recursive: true, force: true })
  }

  /** The system clock's timers do not keep the process alive, so Node does not list them. */
  #watchTimers(): void {
    const clock = this.#clock
    let made = 0
    const watch = (text: string, start: (forget: () => void) => Timer): Timer => {
      const [, , , caller = ''] = new Error().stack?.split('\n') ?? []
      const entry = `timer ${++made} of ${text} set ${caller.trim()}`
      const forget = (): void => void this.#timers.delete(entry)
      this.#timers.add(entry)
      const timer = start(forget)
      return {
        cancel() {
          forget()
          timer.cancel()
        },
      }
    }
    systemClock.after = (delayMs, run) =>
      watch(`${delayMs} ms`, (forget) =>
        clock.after(delayMs, () => {
          forget()
          run()
        }),
      )
    systemClock.every = (periodMs, run) => watch(`every ${periodMs} ms`, () => clock.every(periodMs, run))
  }
}

/** Descriptors by what they refer to, handles and timers that Node waits for, and child processes. */
function listOpen(): string[] {
  const descriptors = readdirSync('/proc/self/fd').map((fd) => readLink(`/proc/self/fd/${fd}`))
  const threads = readdirSync('/proc/self/task').map((id) => readText(`/proc/self/task/${id}/children`))
  return [
    // The descriptor that read the directory is gone by now.
    ...descriptors.filter((link) => link !== '').map((link) => `descriptor ${link}`),
    ...process.getActiveResourcesInfo().map((kind) => `handle ${kind}`),
    ...threads.flatMap((pids) => pids.split(' ').filter(Boolean)).map((pid) => `process ${pid}`),
  ]
}

/** Adds the addresses of a socket (proc_net_tcp(5)) and the command line of a process. */
function explain(line: string): string {
  const [, kind, id = ''] = /^(process|descriptor socket:)\D*(\d+)/.exec(line) ?? []
  if (kind === 'process') return `${line}: ${readText(`/proc/${id}/cmdline`).replaceAll('\0', ' ').trim()}`
  if (kind === undefined) return line
  for (const table of SOCKET_TABLES) {
    const rows = readText(`/proc/self/net/${table}`).split('\n')
    const row = rows.map((text) => text.trim().split(/\s+/)).find((columns) => columns[9] === id)
    if (row === undefined) continue
    const [local, remote] = row.slice(1, 3).map((address) => parseInt(address.split(':')[1] ?? '', 16))
    return `${line}: ${table} port ${local}, ${row[3] === LISTENING ? 'listening' : `peer's port ${remote}`}`
  }
  return line
}

function readLink(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
