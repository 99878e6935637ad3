/** The endpoint under the soak, from outside: its files, its process, its figures, its log. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { readCpuSeconds, readMemoryKib } from '../bench/process-figures.ts'
import { OPEN_EDGE, writeEndpointFiles } from '../support/endpoint.ts'

export type SoakQuestion = { readonly type: 'stats' } | { readonly type: 'fail'; readonly lane: number }

export const USER = { username: 'soak', password: 'by day and night' }
/** A user whom every second reload adds and every other one removes. */
export const GUEST = { username: 'guest', password: 'of the minute' }

const PROGRAM = new URL('endpoint-process.ts', import.meta.url)
const WARNING = 40

export class SoakEndpoint implements AsyncDisposable {
  readonly port: number
  /** Lines of the log that warn or complain, by their text. */
  readonly complaints: Map<string, number>
  reloads = 0
  readonly #child: ChildProcess
  readonly #directory: string
  readonly #log: LogReader

  private constructor(child: ChildProcess, directory: string, port: number, log: LogReader) {
    this.#child = child
    this.#directory = directory
    this.#log = log
    this.port = port
    this.complaints = log.complaints
  }

  static async start(lanes: number): Promise<SoakEndpoint> {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-soak-'))
    const { vpn, hosts } = await writeEndpointFiles(directory, {
      protocols: ['http1', 'http2', 'quic'],
      tables: OPEN_EDGE,
    })
    await writeCredentials(directory, [USER])
    const child = fork(PROGRAM, [vpn, hosts, String(lanes)], {
      cwd: directory,
      env: { ...process.env, TMPDIR: directory },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    const log = new LogReader(child)
    const first = await Promise.race([once(child, 'message'), once(child, 'exit')])
    const { port } = (first[0] ?? {}) as { port?: number }
    if (port === undefined) throw new Error('the endpoint does not start')
    return new SoakEndpoint(child, directory, port, log)
  }

  /** Counters and gauges. One question at a time. */
  async stats(): Promise<Record<string, number>> {
    this.#child.send({ type: 'stats' } satisfies SoakQuestion)
    const [stats] = (await once(this.#child, 'message')) as [Record<string, number>]
    return stats
  }

  /** Resolves when the lane that failed runs again. */
  async failLane(lane: number): Promise<void> {
    const again = this.#log.line('the lane runs again')
    this.#child.send({ type: 'fail', lane } satisfies SoakQuestion)
    await again
  }

  /** Adds or removes the guest, and resolves with whether there is one now. */
  async reload(): Promise<boolean> {
    const hasGuest = ++this.reloads % 2 === 1
    await writeCredentials(this.#directory, hasGuest ? [USER, GUEST] : [USER])
    const done = this.#log.line('configuration reloaded')
    this.#child.kill('SIGHUP')
    await done
    return hasGuest
  }

  rssKib(): Promise<number> {
    return readMemoryKib(this.#pid, 'VmRSS')
  }

  cpuSeconds(): Promise<number> {
    return readCpuSeconds(this.#pid)
  }

  async descriptors(): Promise<number> {
    return (await readdir(`/proc/${this.#pid}/fd`)).length
  }

  get #pid(): number {
    return this.#child.pid ?? 0
  }

  /** Ends it in order; its exit code. */
  async end(): Promise<number | null> {
    const ended = once(this.#child, 'exit') as Promise<[number | null]>
    this.#child.kill('SIGTERM')
    return (await ended)[0]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit')
      this.#child.kill('SIGKILL')
      await ended
    }
    await rm(this.#directory, { recursive: true })
  }
}

class LogReader {
  readonly complaints = new Map<string, number>()
  #waiting: { readonly text: string; readonly resolve: () => void }[] = []

  constructor(child: ChildProcess) {
    if (child.stdout === null) throw new Error('no output')
    createInterface(child.stdout).on('line', (line) => this.#onLine(line))
  }

  /** Resolves with the next line of this text. */
  line(text: string): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ text, resolve }))
  }

  #onLine(line: string): void {
    const { level, msg } = JSON.parse(line) as { level: number; msg: string }
    if (level >= WARNING) this.complaints.set(msg, (this.complaints.get(msg) ?? 0) + 1)
    const found = this.#waiting.filter(({ text }) => text === msg)
    this.#waiting = this.#waiting.filter(({ text }) => text !== msg)
    for (const { resolve } of found) resolve()
  }
}

async function writeCredentials(directory: string, users: readonly (typeof GUEST)[]): Promise<void> {
  const clients = users.map(
    ({ username, password }) => `[[client]]\nusername = "${username}"\npassword = '${password}'\n`,
  )
  await writeFile(join(directory, 'credentials.toml'), clients.join(''), { mode: 0o600 })
}
