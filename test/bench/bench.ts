/**
 * `npm run bench`: what the endpoint costs. Starts it with official files, drives it from other processes over
 * loopback, prints one table and writes a JSON file. `--help` lists the options.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { EndpointProcess } from './endpoint-process.ts'
import { describeMachine } from './machine.ts'
import { measureGate } from './measure-gate.ts'
import { measure } from './measure.ts'
import { endChildrenOnExit, findPinning, type Pinning } from './pinned-process.ts'
import { pickRows, ROWS, type Row } from './plan.ts'
import { formatTable, toJson, type Outcome, type RowResult } from './report.ts'

const HELP = `npm run bench -- [options]
  --runs N           runs per row, of which the median is taken (3)
  --seconds N        measured time per run (3)
  --bytes N          transfers are measured over so many bytes instead
  --only NAME,...    rows by name or its beginning (h2, h2-down, h2-down-8)
  --peer 'COMMAND'   the same against another endpoint, which takes "vpn.toml hosts.toml" behind the command
  --json FILE        where the JSON goes (test/bench/results/DATE.json)
  --cpu-prof DIR     writes processor profiles of our endpoint
rows: ${ROWS.map((row) => row.name).join(', ')}
`

const HERE = dirname(fileURLToPath(import.meta.url))
const OWN_COMMAND = join(HERE, '..', '..', 'scripts', 'trusttunnel_endpoint')

const MAX_FAILURE_CHARS = 200

interface Plan {
  readonly rows: readonly Row[]
  readonly runs: number
  readonly seconds: number
  readonly bytes: number | undefined
  readonly peer: string | undefined
  readonly jsonFile: string
  readonly profileDirectory: string | undefined
}

function readPlan(): Plan | undefined {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '3' },
      bytes: { type: 'string' },
      only: { type: 'string', default: '' },
      peer: { type: 'string' },
      json: { type: 'string' },
      'cpu-prof': { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  const date = new Date().toISOString().replaceAll(':', '-').slice(0, 19)
  return {
    rows: pickRows(values.only.split(',').filter((name) => name !== '')),
    runs: positive('runs', values.runs),
    seconds: positive('seconds', values.seconds),
    bytes: values.bytes === undefined ? undefined : positive('bytes', values.bytes),
    peer: values.peer,
    jsonFile: values.json ?? join(HERE, 'results', `${date}.json`),
    profileDirectory: values['cpu-prof'],
  }
}

function positive(name: string, text: string): number {
  const number = Number(text)
  if (Number.isFinite(number) && number > 0) return number
  throw new Error(`--${name} takes a number above zero`)
}

async function run(plan: Plan): Promise<boolean> {
  const pinning = findPinning()
  const machine = describeMachine(pinning)
  const results: RowResult[] = plan.rows.map((row) => ({
    row,
    own: { runs: [], peakRssMib: [] },
    peer: plan.peer === undefined ? undefined : { runs: [], peakRssMib: [] },
  }))
  for (let turn = 0; turn < plan.runs; turn++) {
    for (const { row, own, peer } of results) {
      // Ours and the peer's alternate, so that other work on the machine affects both equally.
      const order = [() => runOnce(row, own, OWN_COMMAND, plan, pinning)]
      if (peer !== undefined && plan.peer !== undefined) {
        const command = plan.peer
        order[turn % 2 === 0 ? 'push' : 'unshift'](() => runOnce(row, peer, command, plan, pinning))
      }
      for (const step of order) await step()
    }
  }
  const { runs, seconds, bytes, peer } = plan
  const report = { machine, options: { runs, seconds, bytes, peer }, results }
  console.log(formatTable(report))
  await mkdir(dirname(plan.jsonFile), { recursive: true })
  await writeFile(plan.jsonFile, toJson(report))
  console.log(`\n${plan.jsonFile}`)
  return results.every(({ own }) => own.failure === undefined)
}

/** One row against a fresh endpoint. A row that failed once is not tried again. */
async function runOnce(
  row: Row,
  outcome: Outcome,
  command: string,
  plan: Plan,
  pinning: Pinning | undefined,
): Promise<void> {
  if (outcome.failure !== undefined) return
  const isOwn = command === OWN_COMMAND
  try {
    const { values, peakRssMib } = await measureOnce(row, isOwn, command, plan, pinning)
    outcome.runs.push(values)
    outcome.peakRssMib.push(peakRssMib)
    const text = row.figures.map((figure, index) => `${values[index]?.toFixed(figure.digits)} ${figure.unit}`)
    const memory = Number.isNaN(peakRssMib) ? '' : ` (at most ${peakRssMib.toFixed(0)} MiB)`
    console.error(`${isOwn ? 'culvert' : 'peer   '}  ${row.name.padEnd(12)} ${text.join(', ')}${memory}`)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    outcome.failure = message.replaceAll('\n', ' ').slice(0, MAX_FAILURE_CHARS)
    console.error(`${isOwn ? 'culvert' : 'peer   '}  ${row.name.padEnd(12)} failed: ${outcome.failure}`)
  }
}

async function measureOnce(
  { work }: Row,
  isOwn: boolean,
  command: string,
  plan: Plan,
  pinning: Pinning | undefined,
): Promise<{ values: readonly number[]; peakRssMib: number }> {
  const { seconds, bytes } = plan
  if (work.kind === 'gate') {
    if (!isOwn) throw new Error('it is a part of culvert')
    const values = await measureGate({ server: pinning?.endpoint, load: pinning?.load }, { seconds })
    return { values, peakRssMib: NaN }
  }
  await using endpoint = await EndpointProcess.start({
    command: isOwn ? `'${command}'` : command,
    quic: work.kind !== 'udp' && work.protocol === 'h3',
    cores: pinning?.endpoint,
    profileDirectory: isOwn ? plan.profileDirectory : undefined,
  })
  const values = await measure(work, endpoint, { seconds, bytes, cores: pinning?.load })
  return { values, peakRssMib: (await endpoint.peakRssKib()) / 1024 }
}

endChildrenOnExit()
try {
  const plan = readPlan()
  if (plan === undefined) console.log(HELP)
  else process.exitCode = (await run(plan)) ? 0 : 1
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 2
}
