/** Runs programs that we did not write to their end. A test that needs a missing one says so in its title. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { buffer } from 'node:stream/consumers'

export interface Outcome {
  /** Exit code; null when the program was ended by a signal. */
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string | Buffer
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** After this time the program is killed and the run rejects. */
  readonly patienceMs?: number
}

const PATIENCE_MS = 25_000

/** The path of `name`, or undefined when no directory of PATH has it. */
export function findProgram(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']
  return directories.map((directory) => join(directory, name)).find(isExecutable)
}

/** For `describe.skipIf` and titles: ` (skipped: no curl here)` when something is missing. */
export function missing(...names: string[]): { readonly any: boolean; readonly note: string } {
  const absent = names.filter((name) => findProgram(name) === undefined)
  return { any: absent.length > 0, note: absent.length > 0 ? ` (skipped: no ${absent.join(', ')} here)` : '' }
}

/** Resolves when the program has ended, whatever its exit code. */
export async function run(name: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { input, cwd, env, patienceMs = PATIENCE_MS } = options
  const child = spawn(name, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: patienceMs,
    killSignal: 'SIGKILL',
  })
  // It may end without reading its input.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [stdout, stderr, [code, signal]] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
  ])
  if (signal === 'SIGKILL') throw new Error(`${name} took more than ${patienceMs} ms:\n${stderr.toString()}`)
  return { code, stdout, stderr: stderr.toString() }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
