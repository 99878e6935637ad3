/**
 * `culvert serve` that fails as soon as it listens: its lanes whenever they are asked for their figures, or with
 * `control` as the last argument the control thread. The others: the two files and the lanes' module.
 */
import { setTimeout } from 'node:timers/promises'
import { loadSettings } from '../../src/config/load.ts'
import { LogOutput } from '../../src/cli/log/output.ts'
import { runUntilSignal } from '../../src/cli/serve.ts'
import { Supervisor } from '../../src/control/supervisor.ts'

const POLL_MS = 20

const [vpn = '', hosts = '', lane = '', culprit] = process.argv.slice(2)
const output = new LogOutput({ level: 'info', format: 'json', file: undefined, terminal: false })
const supervisor = new Supervisor({
  settings: await loadSettings(vpn, hosts),
  lanes: 2,
  log: output.log,
  logLevel: 'info',
  writeLog: (lines) => output.write(lines),
  laneThread: new URL(lane, import.meta.url),
})
process.exitCode = await runUntilSignal(supervisor, output, 0, () => {
  if (culprit === 'control') throwLater()
  else void askUntilEnded()
})
await output.close()

async function askUntilEnded(): Promise<void> {
  const end = new AbortController()
  const abort = (): void => end.abort()
  supervisor.closed.then(abort, abort)
  while (!end.signal.aborted) {
    await supervisor.stats().catch(() => {})
    await setTimeout(POLL_MS)
  }
}

function throwLater(): void {
  setImmediate(() => {
    throw Object.assign(new Error('a fault of control'), { code: 'ERR_OF_CONTROL' })
  })
}
