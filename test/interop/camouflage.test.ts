/**
 * What a stranger can find out by asking: every probe goes to nginx and to the whole endpoint, which serve the same
 * directory. Probes whose outcomes differ must be exactly those that `docs/camouflage.md` explains.
 */
import { mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hasNginx, startNginx } from '../support/nginx.ts'
import type { Nginx } from '../support/nginx.ts'
import { runProbe } from '../support/probe.ts'
import type { Outcome, Probe } from '../support/probe.ts'
import { PROBES } from '../support/probes.ts'

const AT_ONCE = 16
const MODIFIED = new Date('2026-03-04T05:06:07Z')
/** More than the window that a stream begins with. */
const LARGE_FILE_BYTES = 100_000
const DOCUMENT = new URL('../../docs/camouflage.md', import.meta.url)
/** Headings of the tables. */
const DIFFERENCES = '## Differences\n'
const RACES = '## Differences in a race\n'
const IN_BACKTICKS = /`([^`]+)`/g

describe.skipIf(!hasNginx)(`camouflage${hasNginx ? '' : ' (skipped: no nginx here)'}`, () => {
  let root: string
  let nginx: Nginx
  let endpoint: TestEndpoint

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'culvert-camouflage-'))
    await mkdir(join(root, 'dir'))
    await writeFile(join(root, 'index.html'), '<h1>hello</h1>\n')
    await writeFile(join(root, 'large.txt'), 'x'.repeat(LARGE_FILE_BYTES))
    for (const name of ['index.html', 'large.txt']) await utimes(join(root, name), MODIFIED, MODIFIED)
    nginx = await startNginx(root)
    endpoint = await startEndpoint({
      keys: 'auth_failure_status_code = 405',
      tables: `[culvert.decoy]\nroot = "${root}"`,
      hosts:
        '[[main_hosts]]\nhostname = "localhost"\ncert_chain_path = "cert.pem"\nprivate_key_path = "key.pem"\n',
    })
  })

  afterAll(async () => {
    await endpoint[Symbol.asyncDispose]()
    await nginx[Symbol.asyncDispose]()
    await rm(root, { recursive: true })
  })

  it('the comparison with nginx has many probes, each with a name of its own', () => {
    expect(PROBES.length).toBeGreaterThanOrEqual(40)
    const names = new Set(PROBES.map((probe) => probe.name))
    expect(names.size).toBe(PROBES.length)
  })

  it('the comparison with nginx finds no difference between nginx and itself', async () => {
    const inRace = explainedProbes(await readFile(DOCUMENT, 'utf8'), RACES)
    const steady = PROBES.filter(({ name }) => !inRace.includes(name))
    expect(await compare(steady, nginx.port, nginx.port)).toEqual([])
  }, 120_000)

  it('the comparison with nginx finds only the differences between nginx and the endpoint that are explained', async () => {
    const differences = await compare(PROBES, nginx.port, endpoint.port)
    if (process.env['CULVERT_SHOW_PROBES']) console.log(JSON.stringify(differences, undefined, 1))
    const text = await readFile(DOCUMENT, 'utf8')
    const setAside = new Set(explainedProbes(text, RACES))
    const found = differences.map(({ name }) => name).filter((name) => !setAside.has(name))
    expect(found.toSorted()).toEqual(explainedProbes(text, DIFFERENCES).toSorted())
  }, 120_000)
})

interface Difference {
  readonly name: string
  readonly nginx: Outcome | string
  readonly ours: Outcome | string
}

/** A few at a time: they mostly wait. */
async function compare(probes: readonly Probe[], theirPort: number, ourPort: number): Promise<Difference[]> {
  const differences: Difference[] = []
  const queue = [...probes]
  const work = async (): Promise<void> => {
    for (let probe = queue.shift(); probe; probe = queue.shift()) {
      const [theirs, ours] = await Promise.all([runProbe(probe, theirPort), runProbe(probe, ourPort)])
      if (JSON.stringify(theirs) !== JSON.stringify(ours))
        differences.push({ name: probe.name, nginx: theirs, ours })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return differences
}

/** Names in backticks, in the first column of the table under `heading`. */
function explainedProbes(text: string, heading: string): string[] {
  const [section = ''] = text.slice(text.indexOf(heading) + heading.length).split('\n## ')
  const rows = section.split('\n').filter((line) => line.startsWith('| `'))
  return rows.flatMap((row) =>
    Array.from((row.split(' | ')[0] ?? '').matchAll(IN_BACKTICKS), (match) => match[1] ?? ''),
  )
}

expectNothingLeftOpen()
