/**
 * The endpoint as it is built, in a process that also tells its figures: everything is from `dist/`, but for the lanes'
 * thread, which can be made to fail. Arguments: the two files, and the number of lanes.
 */
import { BroadcastChannel } from 'node:worker_threads'
import type * as Serve from '../../src/cli/serve.ts'
import type * as Output from '../../src/cli/log/output.ts'
import type * as Load from '../../src/config/load.ts'
import type * as Control from '../../src/control/supervisor.ts'
import type * as Heap from '../../src/heap.ts'
import type { SoakQuestion } from './soak-endpoint.ts'

const [vpn = '', hosts = '', lanes = ''] = process.argv.slice(2)
const GRACE_MS = 10_000

async function built<Module>(path: string): Promise<Module> {
  return (await import(new URL(`../../dist/${path}`, import.meta.url).href)) as Module
}

const { tuneHeap } = await built<typeof Heap>('heap.js')
tuneHeap()
const { loadSettings } = await built<typeof Load>('config/load.js')
const { LogOutput } = await built<typeof Output>('cli/log/output.js')
const { runUntilSignal } = await built<typeof Serve>('cli/serve.js')
const { Supervisor } = await built<typeof Control>('control/supervisor.js')

const output = new LogOutput({ level: 'info', format: 'json', file: undefined, terminal: false })
const supervisor = new Supervisor({
  settings: await loadSettings(vpn, hosts),
  load: (running) => loadSettings(vpn, hosts, { running }),
  lanes: Number(lanes),
  log: output.log,
  logLevel: output.level,
  writeLog: (line) => output.write(line),
  laneThread: new URL('mortal-lane.mjs', import.meta.url),
})
const failures = new BroadcastChannel('culvert-soak-failures')
process.on('message', (question: SoakQuestion) => {
  if (question.type === 'fail') return failures.postMessage(question.lane)
  supervisor.stats().then(
    (stats) => process.send?.(stats),
    () => process.send?.({}),
  )
})
process.exitCode = await runUntilSignal(supervisor, output, GRACE_MS, ({ port }) => process.send?.({ port }))
await output.close()
failures.close()
if (process.connected) process.disconnect?.()
