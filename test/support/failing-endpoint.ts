/**
 * `culvert serve` that fails as soon as it listens: its lane when that is asked for its figures, or with `control` as
 * the last argument the control thread. The others: the two files and the lane's module.
 */
import { loadSettings } from '../../src/config/load.ts'
import { LogOutput } from '../../src/cli/log/output.ts'
import { runUntilSignal } from '../../src/cli/serve.ts'
import { Supervisor } from '../../src/control/supervisor.ts'

const [vpn = '', hosts = '', lane = '', culprit] = process.argv.slice(2)
const output = new LogOutput({ level: 'info', format: 'json', file: undefined, terminal: false })
const supervisor = new Supervisor({
  settings: await loadSettings(vpn, hosts),
  log: output.log,
  logLevel: 'info',
  writeLog: (line) => output.write(line),
  laneThread: new URL(lane, import.meta.url),
})
process.exitCode = await runUntilSignal(supervisor, output, 0, () => {
  if (culprit === 'control') throwLater()
  else supervisor.stats().catch(() => {})
})
await output.close()

function throwLater(): void {
  setImmediate(() => {
    throw Object.assign(new Error('a fault of control'), { code: 'ERR_OF_CONTROL' })
  })
}
