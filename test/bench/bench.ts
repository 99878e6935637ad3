/**
 * `npm run bench`: what the endpoint costs. Starts it with official files, drives it from other processes, prints one
 * table and writes a JSON file. `--help` lists the options.
 */
import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HELP, orderOfRound, parsePlan, type Plan, type Variant } from './arguments.ts'
import { networkObstacle } from '../support/routed-network.ts'
import { layCable, type Cable } from './cable.ts'
import { formatGoals, GOAL_ROWS } from './goals.ts'
import { describeMachine } from './machine.ts'
import { endChildrenOnExit, findPinning } from './pinned-process.ts'
import { formatTable, toJson } from './report.ts'
import { formatValue, type Outcome, type RowResult } from './results.ts'
import { measureVariant, type RunOptions } from './run-row.ts'

const HERE = dirname(fileURLToPath(import.meta.url))
const SCRIPTS = join(HERE, '..', '..', 'scripts')
const OWN_COMMAND = `'${join(SCRIPTS, 'trusttunnel_endpoint')}'`

const MAX_FAILURE_CHARS = 200
const NAME_COLUMNS = 16

/** Our endpoint runs as it is installed: types that Node strips at the start cost it 30 MiB. */
function writeDist(): void {
  const args = ['--disable-warning=ExperimentalWarning', join(SCRIPTS, 'strip-types.ts')]
  execFileSync(process.execPath, args, { stdio: 'inherit' })
}

async function run(plan: Plan): Promise<boolean> {
  writeDist()
  const obstacle = plan.rows.some(({ cable }) => cable) ? networkObstacle() : undefined
  using cable = plan.rows.some((row) => row.cable) && obstacle === undefined ? layCable() : undefined
  const { runs, seconds, bytes, variants } = plan
  const machine = describeMachine(findPinning())
  const results = plan.rows.map((row): RowResult => {
    const [own = outcomeOf('culvert'), ...peers] = variants.map(({ name }) => outcomeOf(name))
    return { row, own, peers, ...(row.cable && obstacle !== undefined ? { skipped: obstacle } : {}) }
  })
  for (let round = 0; round < runs; round++) {
    for (const result of results) {
      if (result.skipped === undefined) await runRow(result, round, plan, cable)
    }
  }
  const peers = variants.filter(({ isOwn }) => !isOwn).map(({ name, command }) => ({ name, command }))
  const report = { machine, options: { runs, seconds, bytes, peers }, results }
  console.log(formatTable(report))
  if (plan.judges) console.log(`\n${formatGoals(results)}`)
  const date = machine.date.replaceAll(':', '-').slice(0, 19)
  const file = plan.jsonFile ?? join(HERE, 'results', `${date}.json`)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, toJson(report))
  console.log(`\n${file}`)
  return results.every(({ own }) => own.failure === undefined)
}

function outcomeOf(name: string): Outcome {
  return { name, runs: [], peakRssMib: [], busy: [] }
}

/** One row in one round: every endpoint in turn, each started for it. */
async function runRow(
  { row, own, peers }: RowResult,
  round: number,
  { variants, ...options }: Plan,
  cable: Cable | undefined,
): Promise<void> {
  for (const variant of orderOfRound(variants, round)) {
    const outcome = [own, ...peers].find(({ name }) => name === variant.name)
    if (outcome !== undefined) await runOnce(row, variant, outcome, { ...options, cable })
  }
}

/** A row that failed once is not tried again. */
async function runOnce(
  row: RowResult['row'],
  variant: Variant,
  outcome: Outcome,
  options: RunOptions,
): Promise<void> {
  if (outcome.failure !== undefined) return
  const head = `${variant.name.padEnd(NAME_COLUMNS)} ${row.name.padEnd(NAME_COLUMNS)}`
  try {
    const { values, busy, remark, peakRssMib } = await measureVariant(row, variant, options)
    outcome.runs.push(values)
    outcome.peakRssMib.push(peakRssMib)
    if (busy !== undefined) outcome.busy.push(busy)
    if (remark !== undefined) outcome.remark = remark
    const text = row.figures.map((figure, index) => formatValue(figure, values[index] ?? NaN))
    const cores = busy && `busy cores: endpoint ${busy.endpoint.toFixed(2)}, load ${busy.load.toFixed(2)}`
    const memory = Number.isNaN(peakRssMib) ? undefined : `at most ${peakRssMib.toFixed(0)} MiB`
    const aside = [cores, memory].filter((part) => part !== undefined).join('; ')
    console.error(`${head} ${text.join(', ')}${aside === '' ? '' : ` (${aside})`}`)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    outcome.failure = message.replaceAll('\n', ' ').slice(0, MAX_FAILURE_CHARS)
    console.error(`${head} failed: ${outcome.failure}`)
  }
}

endChildrenOnExit()
try {
  const plan = parsePlan(process.argv.slice(2), OWN_COMMAND, GOAL_ROWS)
  if (plan === undefined) console.log(HELP)
  else process.exitCode = (await run(plan)) ? 0 : 1
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 2
}
