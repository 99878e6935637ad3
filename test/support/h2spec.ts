/**
 * h2spec, which asks an HTTP/2 server 145 questions about RFC 9113 and RFC 7541. Only Go's tools can build it, so it may
 * lie where they put programs; `CULVERT_H2SPEC` names another place.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { findProgram, run } from './outside-program.ts'

export type Verdict = 'passed' | 'failed' | 'skipped'

/** By section and title, as in `http2/6.7: Sends a PING frame with ACK`. */
export type Verdicts = ReadonlyMap<string, Verdict>

/** Asked side by side, because a case that fails mostly waits. Together they are the whole of h2spec. */
const PARTS = [
  ['generic', 'http2/3', 'http2/4'],
  ['http2/5'],
  ['http2/6'],
  ['http2/7', 'http2/8.1/1', 'http2/8.1.2/1', 'http2/8.1.2.1', 'http2/8.1.2.2', 'http2/8.2'],
  ['http2/8.1.2.3'],
  ['http2/8.1.2.6', 'hpack'],
]
const ANSWER_PATIENCE_S = 2
const PATIENCE_MS = 100_000
const CASE =
  /<testcase package="([^"]*)" classname="([^"]*)"[^>]*>\s*(?:<(error|failure|skipped)\b|<\/testcase>)/g

export const h2spec: string | undefined = [
  process.env['CULVERT_H2SPEC'],
  findProgram('h2spec'),
  ...[process.env['GOBIN'], join(process.env['GOPATH'] ?? join(homedir(), 'go'), 'bin')].map(
    (directory) => directory && join(directory, 'h2spec'),
  ),
].find((path) => path !== undefined && path !== '' && existsSync(path))

/** All verdicts on the server that listens at `port` of this machine. */
export async function askH2spec(port: number): Promise<Verdicts> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-h2spec-'))
  try {
    const reports = await Promise.all(
      PARTS.map((part, index) => askPart(port, part, join(directory, `${index}.xml`))),
    )
    return new Map(reports.flatMap(parseReport))
  } finally {
    await rm(directory, { recursive: true })
  }
}

/** Its exit code says whether everything passed, which no server here achieves; what counts is the report. */
async function askPart(port: number, part: readonly string[], report: string): Promise<string> {
  const options = ['--tls', '--insecure', '--host', 'localhost', '--port', `${port}`]
  await run(
    h2spec ?? 'h2spec',
    [...options, '--timeout', `${ANSWER_PATIENCE_S}`, '--junit-report', report, ...part],
    { patienceMs: PATIENCE_MS },
  )
  return await readFile(report, 'utf8')
}

function parseReport(report: string): [string, Verdict][] {
  return Array.from(report.matchAll(CASE), ([, section = '', title = '', fault]) => [
    `${section}: ${unescapeXml(title)}`,
    fault === undefined ? 'passed' : fault === 'skipped' ? 'skipped' : 'failed',
  ])
}

function unescapeXml(text: string): string {
  return text
    .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
    .replaceAll('&amp;', '&')
}
