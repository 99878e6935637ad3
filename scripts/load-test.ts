/**
 * Runs the whole test suite several times while one core is kept busy, and says what failed how often:
 *
 *     npm run test:load -- 10 [files...]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { Worker } from 'node:worker_threads'

interface Report {
  readonly numTotalTests: number
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: readonly {
      readonly fullName: string
      readonly status: string
      readonly failureMessages?: readonly string[]
    }[]
  }[]
}

const ROOT = join(import.meta.dirname, '..')
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs')
const [times = '10', ...files] = process.argv.slice(2)
const runs = Number(times)
if (!Number.isSafeInteger(runs) || runs < 1) {
  console.error('usage: npm run test:load -- <times> [files...]')
  process.exit(2)
}

const directory = await mkdtemp(join(tmpdir(), 'culvert-load-'))
const busy = new Worker('for (;;);', { eval: true })
const failures = new Map<string, number>()
let broken = 0
try {
  for (let run = 1; run <= runs; run++) {
    const path = join(directory, `${run}.json`)
    const code = await runSuite(path)
    const report = await readReport(path)
    const failed = report === undefined ? ['the runner itself'] : failedTests(report)
    // An error outside any test fails the run too.
    if (code !== 0 && failed.length === 0) failed.push('something outside the tests (see above)')
    for (const name of failed) failures.set(name, (failures.get(name) ?? 0) + 1)
    if (failed.length > 0) broken++
    console.log(`run ${run} of ${runs}: ${countsOf(report)}`)
    for (const name of failed) console.log(`  failed: ${name}`)
  }
} finally {
  await busy.terminate()
  await rm(directory, { recursive: true })
}
console.log(`${runs - broken} of ${runs} runs without a failure`)
for (const [name, count] of [...failures].toSorted(([, a], [, b]) => b - a))
  console.log(`  ${count} x ${name}`)
process.exitCode = broken === 0 ? 0 : 1

async function runSuite(reportPath: string): Promise<number | null> {
  const args = ['run', ...files, '--reporter=json', `--outputFile=${reportPath}`]
  const child = spawn(process.execPath, [VITEST, ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return code
}

async function readReport(path: string): Promise<Report | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Report
  } catch {
    return undefined
  }
}

/** Tests by name, and files that failed outside their tests: in a hook, as the leak check does, or at import. */
function failedTests(report: Report): string[] {
  return report.testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = relative(ROOT, name)
    const tests = assertionResults.filter((result) => result.status === 'failed')
    for (const { failureMessages = [] } of tests) for (const each of failureMessages) console.log(each)
    if (tests.length > 0) return tests.map(({ fullName }) => `${file}: ${fullName.trim()}`)
    return status === 'failed' ? [`${file}: ${message.split('\n').slice(0, 3).join(' ')}`] : []
  })
}

function countsOf(report: Report | undefined): string {
  if (report === undefined) return 'no report'
  const { numPassedTests, numFailedTests, numPendingTests, numTotalTests, testResults } = report
  return `${testResults.length} files, ${numTotalTests} tests: ${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`
}
