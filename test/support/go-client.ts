/**
 * The client in `test/interop/go-client`, which Go's tools build. Tests never download anything: `go mod download` in
 * that directory brings what it imports.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { findProgram, run } from './outside-program.ts'

const SOURCE = fileURLToPath(new URL('../interop/go-client', import.meta.url))
const OFFLINE = { GOPROXY: 'off', GOFLAGS: '-mod=readonly', GOTOOLCHAIN: 'local' }
const BUILD_PATIENCE_MS = 240_000

const go = [findProgram('go'), '/usr/local/go/bin/go'].find((path) => path !== undefined && existsSync(path))

/** Why the client cannot be built here, for `describe.skipIf` and titles; undefined when it can. */
export const goObstacle: string | undefined = await findObstacle()

async function findObstacle(): Promise<string | undefined> {
  if (go === undefined) return 'no go here'
  const { code } = await run(go, ['list', '-deps', '.'], { cwd: SOURCE, env: OFFLINE })
  return code === 0 ? undefined : 'needs a newer go, or "go mod download" in test/interop/go-client'
}

/** The client, built into a directory of its own. */
export class GoClient implements AsyncDisposable {
  readonly #directory: string

  private constructor(directory: string) {
    this.#directory = directory
  }

  static async build(): Promise<GoClient> {
    const client = new GoClient(await mkdtemp(join(tmpdir(), 'culvert-go-')))
    const options = { cwd: SOURCE, env: OFFLINE, patienceMs: BUILD_PATIENCE_MS }
    const { code, stderr } = await run(go ?? 'go', ['build', '-o', client.#program, '.'], options)
    if (code === 0) return client
    await client[Symbol.asyncDispose]()
    throw new Error(stderr)
  }

  get #program(): string {
    return join(this.#directory, 'go-client')
  }

  /** Begins a scenario. */
  start(...args: readonly string[]): GoRun {
    return new GoRun(this.#program, args)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true })
  }
}

export class GoRun {
  readonly #child
  readonly #lines: AsyncIterator<string>
  readonly #ended: Promise<readonly [Buffer, number | null]>

  constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    // It may end without having read anything.
    this.#child.stdin.on('error', () => {})
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]()
    this.#ended = Promise.all([
      buffer(this.#child.stderr),
      once(this.#child, 'close').then(([code]) => code as number | null),
    ])
  }

  /** The next line of what it tells; rejects with its complaint when it ends before. */
  async line(): Promise<string> {
    const next = await this.#lines.next()
    if (next.done !== true) return next.value
    const [complaint, code] = await this.#ended
    throw new Error(`ended with ${code}: ${complaint.toString()}`)
  }

  /** Lets it end, and resolves with its result. */
  async finish(): Promise<unknown> {
    this.#child.stdin.end()
    const result: unknown = JSON.parse(await this.line())
    await this.#ended
    return result
  }
}
