/** From the command line to a command and its exit code. Nothing else reads `process.argv` or sets the code. */
import { setFlagsFromString } from 'node:v8'
import { parseCommand, LEGACY_PROGRAM, type Command } from './cli/arguments.ts'
import { runConfig } from './cli/config.ts'
import { runExport } from './cli/export/export.ts'
import { HELP, LEGACY_HELP, readVersion } from './cli/help.ts'
import { runServe } from './cli/serve.ts'
import type { ExitCode, Terminal } from './cli/terminal.ts'
import { runTry } from './cli/try/try.ts'
import { UsageError } from './cli/terminal.ts'
import { ConfigError, formatIssue } from './config/config-error.ts'

// What sockets are read into is memory outside of V8's heap, and by default every so many of them cost a full
// collection of it: a fifth of the CPU time of a transfer. Lanes start later and get the same heap.
setFlagsFromString('--external-memory-accounted-in-global-limit')
setFlagsFromString('--initial-heap-size=64')

const terminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  error: (text) => void process.stderr.write(text),
}
// A reader that has seen enough (`culvert config | head`) is no fault.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

async function run(command: Command): Promise<ExitCode> {
  switch (command.kind) {
    case 'serve':
      return runServe(command)
    case 'export':
      return runExport(command, terminal)
    case 'try':
      return runTry(command, terminal)
    case 'config':
      return runConfig(command, terminal)
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
