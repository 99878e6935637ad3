/**
 * testssl.sh against the endpoint: nothing below TLS 1.2, no weak suites, no finding above LOW. `docs/tls.md` lists the
 * checks that are left out and the findings that are set aside; this test keeps to the same lists.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startBrowsableEndpoint } from '../support/browsable-endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { missing, run } from '../support/outside-program.ts'

const PATIENCE_MS = 170_000
const absent = missing('testssl', 'openssl')

/** Run side by side: most of a scan is waiting. Categories of `man testssl`. */
const SCANS = [
  ['--std', '--pfs'],
  ['--protocols', '--server-preference', '--server-defaults'],
  [
    '--heartbleed',
    '--ccs-injection',
    '--ticketbleed',
    '--robot',
    '--renegotiation',
    '--compression',
    '--breach',
  ],
  [
    '--poodle',
    '--tls-fallback',
    '--sweet32',
    '--freak',
    '--drown',
    '--logjam',
    '--beast',
    '--lucky13',
    '--rc4',
  ],
]

/** Findings that say nothing about the endpoint, or that are a choice; the reasons are in `docs/tls.md`. */
const SET_ASIDE = [
  'engine_problem',
  'sessionresumption_ticket',
  'cert_chain_of_trust',
  'cert_expirationStatus',
  'cert_notAfter',
  'cert_revocation',
  'cipher_order',
]
const HARMLESS = new Set(['OK', 'INFO', 'LOW'])

/** What the scan must have checked, so that one that stops early does not pass. */
const EXPECTED: Record<string, RegExp> = {
  SSLv2: /^not offered/,
  SSLv3: /^not offered/,
  TLS1: /^not offered/,
  TLS1_1: /^not offered/,
  TLS1_2: /^offered/,
  TLS1_3: /^offered/,
  ALPN_HTTP2: /^h2/,
  cipherlist_NULL: /^not offered/,
  cipherlist_aNULL: /^not offered/,
  cipherlist_EXPORT: /^not offered/,
  cipherlist_LOW: /^not offered/,
  cipherlist_3DES_IDEA: /^not offered/,
  cipherlist_AVERAGE: /^not offered/,
  cipherlist_STRONG: /^offered/,
  PFS: /^offered/,
  heartbleed: /^not vulnerable/,
  CCS: /^not vulnerable/,
  ticketbleed: /^not vulnerable|^no session ticket/,
  ROBOT: /^not vulnerable/,
  secure_renego: /^supported/,
  secure_client_renego: /^not vulnerable/,
  CRIME_TLS: /^not vulnerable/,
  BREACH: /^not vulnerable/,
  POODLE_SSL: /^not vulnerable/,
  fallback_SCSV: /^no protocol below TLS 1\.2/,
  SWEET32: /^not vulnerable/,
  FREAK: /^not vulnerable/,
  DROWN: /^not vulnerable/,
  LOGJAM: /^not vulnerable/,
  BEAST: /^not vulnerable/,
  LUCKY13: /^not vulnerable/,
  RC4: /^not vulnerable/,
}

interface Finding {
  readonly id: string
  readonly severity: string
  readonly finding: string
}

async function scan(port: number, checks: readonly string[], file: string): Promise<Finding[]> {
  const address = ['--ip', '127.0.0.1', '--nodns', 'none', `localhost:${port}`]
  const quiet = ['--quiet', '--warnings', 'batch', '--color', '0', '--jsonfile', file]
  await run('testssl', [...quiet, ...checks, ...address], { patienceMs: PATIENCE_MS })
  return JSON.parse(await readFile(file, 'utf8')) as Finding[]
}

describe.skipIf(absent.any)(`testssl.sh${absent.note}`, () => {
  it('testssl.sh finds nothing above LOW', { timeout: PATIENCE_MS + 10_000 }, async () => {
    await using endpoint = await startBrowsableEndpoint()
    const directory = await mkdtemp(join(tmpdir(), 'culvert-testssl-'))
    try {
      const scans = SCANS.map((checks, index) =>
        scan(endpoint.port, checks, join(directory, `${index}.json`)),
      )
      const findings = (await Promise.all(scans)).flat()
      const serious = findings.filter(
        ({ id, severity }) => !HARMLESS.has(severity) && !SET_ASIDE.includes(id),
      )
      expect(serious).toEqual([])
      const found = Object.fromEntries(findings.map(({ id, finding }) => [id, finding]))
      for (const [id, pattern] of Object.entries(EXPECTED))
        expect(`${id}: ${found[id]}`).toMatch(after(id, pattern))
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

describe('docs/tls.md', () => {
  it('docs/tls.md names every finding that is set aside, and no other', async () => {
    const text = await readFile(new URL('../../docs/tls.md', import.meta.url), 'utf8')
    const section = /^## Set aside\n([^]*?)(?=^## |$(?![^]))/m.exec(text)?.[1] ?? ''
    const named = new Set([...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, id]) => id))
    expect(named).toEqual(new Set(SET_ASIDE))
  })
})

/** `pattern` behind `id: `, so that a failure tells which finding it was. */
function after(id: string, pattern: RegExp): RegExp {
  return new RegExp(`^${id}: (${pattern.source.replaceAll('^', '')})`)
}

expectNothingLeftOpen()
