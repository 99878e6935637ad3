/** `culvert serve`: runs the endpoint until a signal ends it. Signals are handled here and nowhere else. */
import { createRequire } from 'node:module'
import type koffi from 'koffi'
import { availableParallelism } from 'node:os'
import { systemClock } from '../clock.ts'
import { ConfigError, formatIssue } from '../config/config-error.ts'
import { loadSettings } from '../config/load.ts'
import type { Settings } from '../config/settings.ts'
import { formatSocketAddress } from '../wire/authority.ts'
import { collectGarbageOfStart } from '../heap.ts'
import type { Log } from '../log.ts'
import { removePrivateTemp } from '../control/private-temp.ts'
import { Supervisor } from '../control/supervisor.ts'
import type { ServeCommand } from './arguments.ts'
import { readVersion } from './help.ts'
import { LogOutput } from './log/output.ts'
import type { ExitCode } from './terminal.ts'

/** Rejects with a `ConfigError` when the configuration files are wrong; nothing has been opened by then. */
export async function runServe(command: ServeCommand): Promise<ExitCode> {
  const settings = await loadSettings(command.vpn, command.hosts)
  const output = openLog(command, settings)
  try {
    for (const warning of command.warnings) output.log.warn(warning)
    warnAll(output.log, settings)
    const supervisor = new Supervisor({
      settings,
      lanes: command.jobs ?? defaultLanes(),
      load: (running) => loadSettings(command.vpn, command.hosts, { running }),
      log: output.log,
      logLevel: output.level,
      writeLog: (lines) => output.write(lines),
    })
    return await runUntilSignal(supervisor, output, settings.vpn.culvert.shutdown_grace_secs * 1000)
  } finally {
    await output.close()
  }
}

/** Only Linux spreads connections over several listeners on one port as lanes need it. */
function defaultLanes(): number {
  return process.platform === 'linux' ? availableParallelism() : 1
}

function openLog(command: ServeCommand, settings: Settings): LogOutput {
  try {
    return new LogOutput({
      level: command.level,
      format: settings.vpn.culvert.log.format,
      file: command.logfile,
      terminal: process.stdout.isTTY,
    })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new ConfigError([{ file: command.logfile ?? 'log', path: '', message }], settings.warnings)
  }
}

export function warnAll(log: Log, settings: Settings): void {
  for (const { file, path, message } of settings.warnings)
    log.warn(path === '' ? { file } : { file, path }, message)
}

/** How long the process may take once it is ending: threads may hang in native code, a log may have no reader. */
const END_DEADLINE_MS = 2500

/**
 * Starts the endpoint, waits, and ends it. The first SIGTERM or SIGINT drains, a second one does not wait; SIGHUP
 * reopens the log file and reads the configuration again. However the endpoint ends, the process follows within
 * `END_DEADLINE_MS`.
 */
export async function runUntilSignal(
  supervisor: Supervisor,
  output: LogOutput,
  graceMs: number,
  onStart: (address: { address: string; port: number }) => void = () => {},
): Promise<ExitCode> {
  const { log } = output
  let ending = false
  let failed = false
  const end = (signal: NodeJS.Signals) => {
    if (ending) return supervisor.destroy(new Error(`second ${signal}`))
    ending = true
    log.info({ signal, graceMs }, 'ending')
    supervisor
      .close({ graceMs })
      .catch((error: unknown) => log.error({ err: error }, 'cannot shut down in order'))
  }
  const reload = () => {
    output.reopen()
    supervisor.reload().catch((error: unknown) => logRefusal(log, error))
  }
  const fail = (error: unknown) => {
    failed = true
    logCrash(log, error)
    supervisor.destroy(new Error('the endpoint has failed'))
  }
  process.on('SIGTERM', end).on('SIGINT', end).on('SIGHUP', reload).on('uncaughtException', fail)
  try {
    const address = await supervisor.start()
    const { lanes } = supervisor
    log.info({ address: formatSocketAddress(address), lanes, version: readVersion() }, 'listening')
    onStart(address)
    collectGarbageOfStart()
    await supervisor.closed.catch(fail)
    if (!failed) log.info('ended')
  } catch (error) {
    // Either it was told to end while starting, or it has already logged what is wrong.
    if (!ending && !failed) logFailure(log, error)
    failed ||= !ending
  } finally {
    endForCertain(failed)
    process.off('SIGTERM', end).off('SIGINT', end).off('SIGHUP', reload).off('uncaughtException', fail)
  }
  return failed ? 1 : 0
}

/** Does not keep the process alive by itself, but kills it if anything else does. */
function endForCertain(failed: boolean): void {
  systemClock.after(END_DEADLINE_MS, () => {
    removePrivateTemp()
    if (failed) exitWithoutThreads(1)
    process.kill(process.pid, 'SIGKILL')
  })
}

/** Node would wait for its threads; _exit(2) does not. */
function exitWithoutThreads(code: ExitCode): void {
  const { load } = createRequire(import.meta.url)('koffi') as typeof koffi
  const exit = load(null).func('void _exit(int)') as (code: number) => void
  exit(code)
}

/** A fault of our own: without its stack nobody could tell where. */
function logCrash(log: Log, error: unknown): void {
  const code = error instanceof Error && 'code' in error ? error.code : 'internal'
  log.fatal({ code, err: error }, 'failed')
}

/** A fault of the machine (address in use, missing capability) can be understood without a stack. */
function logFailure(log: Log, error: unknown): void {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (typeof code === 'string' && error instanceof Error) log.fatal({ code }, error.message)
  else log.fatal({ err: error }, 'failed')
}

function logRefusal(log: Log, error: unknown): void {
  if (!(error instanceof ConfigError))
    return log.error({ err: error }, 'reload failed; everything stays as it was')
  log.error(
    { code: error.code, problems: error.problems.map(formatIssue) },
    'configuration refused; everything stays as it was',
  )
}
