/**
 * How much memory an idle endpoint needs. It was 142 MiB once, of which 39 were the program that strips types from
 * sources, loaded by both threads and never used again. What `npm install` writes has no types any more.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { writeEndpointFiles } from '../support/endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

/** 92 where it was measured; what is mapped of Node's own file differs between kernels. */
const MAX_RESIDENT_MIB = 110
const MAX_FURTHER_LANE_MIB = 45
const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'culvert-checkout-'))
})
afterEach(() => rmSync(root, { recursive: true }))

/** Resident memory of an endpoint at rest, once it is below `mostMib`; rejects if that never happens. */
async function expectAtRest(lanes: number, mostMib: number): Promise<number> {
  for (const shared of ['node_modules', 'package.json'])
    symlinkSync(join(REPOSITORY, shared), join(root, shared))
  const strip = join(REPOSITORY, 'scripts/strip-types.ts')
  await promisify(execFile)(process.execPath, [strip, join(root, 'dist')])
  const { vpn, hosts } = await writeEndpointFiles(root, { protocols: ['http1', 'http2', 'quic'] })
  const endpoint = spawn(
    process.execPath,
    [join(root, 'dist/main.js'), 'serve', vpn, hosts, '--jobs', `${lanes}`],
    { cwd: root },
  )
  const ended = once(endpoint, 'close')
  let log = ''
  endpoint.stdout.on('data', (chunk: Buffer) => (log += chunk.toString()))
  const resident = (): number => {
    const status = readFileSync(`/proc/${endpoint.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
  }
  try {
    await expect.poll(() => log, { timeout: 20_000 }).toContain('"listening"')
    await expect.poll(resident, { timeout: 5000 }).toBeLessThan(mostMib)
    return resident()
  } finally {
    endpoint.kill('SIGTERM')
    await ended
  }
}

it('an endpoint at rest with all three protocols stays far below what it needed with type stripping', async () => {
  await expectAtRest(1, MAX_RESIDENT_MIB)
})

it('a further lane costs at most 45 MiB', async () => {
  const most = MAX_RESIDENT_MIB + 2 * MAX_FURTHER_LANE_MIB
  console.log(`three lanes at rest: ${Math.round(await expectAtRest(3, most))} MiB`)
})

it.each([
  ['what npm install has written', 'older', 'dist'],
  ['the sources when they have changed since', 'newer', 'src'],
])('scripts/culvert runs %s', async (_what, age, expected) => {
  for (const directory of ['scripts', 'src', 'dist']) mkdirSync(join(root, directory))
  copyFileSync(join(REPOSITORY, 'scripts/culvert'), join(root, 'scripts/culvert'))
  writeFileSync(join(root, 'src/main.ts'), 'process.stdout.write("src")')
  writeFileSync(join(root, 'dist/main.js'), 'process.stdout.write("dist")')
  const changed = age === 'newer' ? 2000 : 500
  for (const path of ['src/main.ts', 'src']) utimesSync(join(root, path), changed, changed)
  utimesSync(join(root, 'dist/main.js'), 1000, 1000)
  const PATH = [dirname(process.execPath), process.env['PATH']].join(delimiter)
  const { stdout } = await promisify(execFile)(join(root, 'scripts/culvert'), {
    env: { ...process.env, PATH },
  })
  expect(stdout).toBe(expected)
})

expectNothingLeftOpen()
