/** One of our executables as a process of its own, started as an operator would. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface ProgramOptions {
  readonly cwd?: string | undefined
  readonly env?: NodeJS.ProcessEnv
  /** RLIMIT_NOFILE. */
  readonly descriptors?: number | undefined
}

export class Program implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #finished: Promise<Finished>
  #stdout = ''
  #stderr = ''
  #waiting: (() => void)[] = []

  constructor(
    name: 'culvert' | 'trusttunnel_endpoint',
    args: readonly string[],
    options: ProgramOptions = {},
  ) {
    const path = fileURLToPath(new URL(`../../scripts/${name}`, import.meta.url))
    const limit = options.descriptors === undefined ? '' : `ulimit -n ${options.descriptors}; `
    this.#child = spawn('sh', ['-c', `${limit}exec "$0" "$@"`, path, ...args], {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#take(() => (this.#stdout += chunk.toString())))
    this.#child.stderr?.on('data', (chunk: Buffer) => this.#take(() => (this.#stderr += chunk.toString())))
    this.#finished = once(this.#child, 'close').then(([code]) => {
      this.#take(() => {})
      return { code: code as number | null, stdout: this.#stdout, stderr: this.#stderr }
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get finished(): Promise<Finished> {
    return this.#finished
  }

  /** Resolves with the match as soon as standard output contains it; rejects when the program ends first. */
  async output(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#stdout)
      if (match !== null) return match
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`ended without ${String(pattern)}:\n${this.#stdout}\n${this.#stderr}`)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  /** Closes our end of the program's standard output, as a reader that goes away. */
  closeOutput(): void {
    this.#child.stdout?.destroy()
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#finished
  }

  #take(update: () => void): void {
    update()
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }
}
