/**
 * h2spec's questions to nginx and to the whole endpoint, which serve the same directory: who asks them must not be able
 * to tell which one answered, so every verdict must be the same, also where it is "failed".
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { askH2spec, h2spec } from '../support/h2spec.ts'
import type { Verdicts } from '../support/h2spec.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hasNginx, startNginx } from '../support/nginx.ts'
import type { Nginx } from '../support/nginx.ts'

const CASES = 145
const PATIENCE_MS = 120_000
const absent = [h2spec === undefined ? 'h2spec' : '', hasNginx ? '' : 'nginx'].filter((name) => name !== '')
const note = absent.length > 0 ? ` (skipped: no ${absent.join(', ')} here)` : ''

interface Difference {
  readonly reason: string
  readonly section: string
  readonly titles: readonly string[]
}

/** Cases whose verdicts differ. */
const DIFFERENCES: readonly Difference[] = []
const EXPLAINED = DIFFERENCES.flatMap(({ section, titles }) => titles.map((title) => `${section}: ${title}`))

describe.skipIf(absent.length > 0)(`h2spec${note}`, () => {
  let root: string
  let nginx: Nginx
  let endpoint: TestEndpoint
  let theirs: Verdicts
  let ours: Verdicts

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'culvert-h2spec-'))
    await writeFile(join(root, 'index.html'), '<h1>hello</h1>\n')
    nginx = await startNginx(root)
    endpoint = await startEndpoint({
      keys: 'auth_failure_status_code = 405',
      tables: `[culvert.decoy]\nroot = "${root}"`,
      hosts:
        '[[main_hosts]]\nhostname = "localhost"\ncert_chain_path = "cert.pem"\nprivate_key_path = "key.pem"\n',
    })
    ;[theirs, ours] = await Promise.all([askH2spec(nginx.port), askH2spec(endpoint.port)])
  }, PATIENCE_MS)

  afterAll(async () => {
    await endpoint[Symbol.asyncDispose]()
    await nginx[Symbol.asyncDispose]()
    await rm(root, { recursive: true })
  })

  it('h2spec asks all its questions of nginx and of the endpoint', () => {
    expect(theirs.size).toBe(CASES)
    expect([...ours.keys()]).toEqual([...theirs.keys()])
    expect([...theirs.values(), ...ours.values()]).not.toContain('skipped')
  })

  it('h2spec finds only the differences between nginx and the endpoint that are explained', () => {
    const differing = [...theirs.keys()].filter((name) => theirs.get(name) !== ours.get(name))
    if (process.env['CULVERT_SHOW_PROBES'])
      console.log(differing.map((name) => `${name} (nginx ${theirs.get(name)})`).join('\n'))
    expect(differing.toSorted()).toEqual(EXPLAINED.toSorted())
  })
})

expectNothingLeftOpen()
