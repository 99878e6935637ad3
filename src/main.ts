/** Turns the command line into a command and its exit code. Nothing else reads `process.argv` or sets the exit code. */
import { parseCommand, LEGACY_PROGRAM, type Command } from './cli/arguments.ts'
import { HELP, LEGACY_HELP, readVersion } from './cli/help.ts'
import type { ExitCode, Terminal } from './cli/terminal.ts'
import { UsageError } from './cli/terminal.ts'
import { ConfigError, formatIssue } from './config/config-error.ts'
import { tuneHeap } from './heap.ts'

tuneHeap()

const terminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  error: (text) => void process.stderr.write(text),
}
// A reader that has seen enough (`culvert config | head`) is not an error.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

/** Each command is loaded only when it is used: what a running endpoint never needs would stay in memory. */
async function run(command: Command): Promise<ExitCode> {
  switch (command.kind) {
    case 'serve':
      return (await import('./cli/serve.ts')).runServe(command)
    case 'export':
      return (await import('./cli/export/export.ts')).runExport(command, terminal)
    case 'try':
      return (await import('./cli/try/try.ts')).runTry(command, terminal)
    case 'config':
      return (await import('./cli/config.ts')).runConfig(command, terminal)
    case 'help':
      terminal.out(command.program === LEGACY_PROGRAM ? LEGACY_HELP : HELP)
      return 0
    case 'version':
      terminal.out(`${command.program} ${readVersion()}\n`)
      return 0
  }
}

function explain(error: unknown): ExitCode {
  if (error instanceof UsageError) {
    terminal.error(`${error.message}\nculvert --help explains the command line\n`)
    return 2
  }
  if (error instanceof ConfigError) {
    for (const warning of error.warnings) terminal.error(`warning: ${formatIssue(warning)}\n`)
    for (const problem of error.problems) terminal.error(`error: ${formatIssue(problem)}\n`)
    return 2
  }
  terminal.error(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  return 1
}

try {
  process.exitCode = await run(parseCommand(process.argv.slice(2)))
} catch (error) {
  process.exitCode = explain(error)
}
