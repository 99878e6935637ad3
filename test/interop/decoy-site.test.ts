/** The decoy site against nginx serving the same directory: status, fields, their order, and every byte of content. */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { DecoySite } from '../../src/web/nginx/decoy-site.ts'
import { SiteDirectory } from '../../src/web/nginx/site-directory.ts'
import { IdleMonitor } from '../../src/relay/idle-monitor.ts'
import { WebPages } from '../../src/web/nginx/web-pages.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hasNginx, startNginx } from '../support/nginx.ts'
import type { Nginx } from '../support/nginx.ts'
import { startWebHarness } from '../support/web-harness.ts'
import type { WebHarness } from '../support/web-harness.ts'
import { askHttp1, askHttp2 } from '../support/web-client.ts'
import type { WebAnswer, WebQuery } from '../support/web-client.ts'

const MODIFIED = new Date('2026-03-04T05:06:07Z')
const LAST_MODIFIED = MODIFIED.toUTCString()
const CHROME =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'

/** `hex(mtime)-hex(size)` of a file of 15 bytes. */
const ETAG = `"${(MODIFIED.getTime() / 1000).toString(16)}-f"`

function words(text: string): string[] {
  return text.trim().split(/\s+/)
}

const PATHS = words(`
  / /index.html /missing /dir /dir?x=1 /dir? /dir/ /empty/ /empty /dir/sub /dir/sub?a=%20b /d%20x /d%20x?q=%20
  /d%C3%BC /d%C3%BC/a.txt /a%20b.txt /noext /zero.txt /UP.HTML /INDEX.HTML /index.html?x=1 /index.html%3fx
  /index.html%23x /index.html;x /%7f /%01 /%0a /~ /.hidden /dir+/ /index.html/ /index.html/x /dir/... /dir/.
  /dir/.. /.. /. /../ /../../etc/passwd /%2e%2e/etc/passwd /%2e%2e%2fetc%2fpasswd /dir/../index.html
  /dir/%2e%2e/index.html /dir%2f..%2findex.html /dir/../../etc/passwd /dir%2f..%2f..%2fetc%2fpasswd
  /..%5c..%5cetc /dir/..%2F..%2F..%2Fetc/passwd /%00 /index.html%00.txt /%zz /% /%4 /%c0%ae //index.html
  /dir//sub//a.txt /./index.html // /dir//..//index.html /style.css /x.js /x.json /x.svg /x.woff2 /x.unknown
  /.txt /x.tar.gz /dir%2fsub /a%25b /%3Cq%3E /%3Cq%3E/ /d%22q /d%5Eb /d%2Bq /%2525 /index.html#x /index.html%20
  /%20 /inner-link /${'a'.repeat(300)}
`)

/** What follows `bytes=`. */
const RANGES = [
  ...words(
    '0-4 5- -5 -100 14-14 15- 15-20 0-1,3-4 0-1,0-1 5-3 0-4, a-b 0-99999999999999999999999 -0 0-,0-,0-',
  ),
  ...words('0-4,20-30 20-30,40-50 0-0,-1 --5 4-2,0-1 0- ,0-1 0 - 0-1;2-3 00-01'),
  '',
  ' 0 - 4',
  '1-2, 4-5 ,7-8',
]

const CONDITIONS: Record<string, string>[] = [
  ...['*', ETAG, `W/${ETAG}`, `"a", ${ETAG}`, `"a",W/${ETAG}`, '"a"', 'junk', `${ETAG}x`].flatMap((value) => [
    { 'if-none-match': value },
    { 'if-match': value },
    { 'if-range': value, range: 'bytes=0-4' },
    { 'if-none-match': value, range: 'bytes=0-4' },
    { 'if-none-match': value, 'if-modified-since': LAST_MODIFIED },
  ]),
  ...[
    LAST_MODIFIED,
    'Sat, 21 Nov 2020 00:00:00 GMT',
    'Sat, 21 Nov 2099 00:00:00 GMT',
    'Wednesday, 04-Mar-26 05:06:07 GMT',
    'Wed Mar  4 05:06:07 2026',
    'x',
    '0',
  ].flatMap((value) => [
    { 'if-modified-since': value },
    { 'if-unmodified-since': value },
    { 'if-range': value, range: 'bytes=0-4' },
    { 'if-modified-since': value, 'if-none-match': ETAG },
  ]),
]

const QUERIES: WebQuery[] = [
  ...PATHS.map((path) => ({ path })),
  ...['/', '/index.html', '/missing', '/dir', '/empty/', '/dir/'].flatMap((path) =>
    ['HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'PROPFIND'].map((method) => ({
      path,
      method,
    })),
  ),
  ...[
    CHROME,
    FIREFOX,
    'Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)',
    'MSIE ',
    'Opera Chrome/',
  ].flatMap((agent) =>
    ['/', '/missing', '/dir', '/%00'].map((path) => ({ path, headers: { 'user-agent': agent } })),
  ),
  ...RANGES.map((range) => ({ path: '/index.html', headers: { range: `bytes=${range}` } })),
  ...['items=0-4', 'Bytes=0-4', 'bytes', 'bytes=1'].map((range) => ({
    path: '/index.html',
    headers: { range },
  })),
  ...['/zero.txt', '/missing', '/dir/', '/big.bin'].map((path) => ({
    path,
    headers: { range: 'bytes=1-70000' },
  })),
  { path: '/big.bin', headers: { range: 'bytes=65530-65540,100000-265535,-1' } },
  { path: '/big.bin' },
  { path: '/index.html', method: 'HEAD', headers: { range: 'bytes=0-1,3-4' } },
  { path: '/index.html', method: 'HEAD', headers: { 'if-none-match': ETAG } },
  ...CONDITIONS.map((headers) => ({ path: '/index.html', headers })),
  { path: '/index.html', method: 'POST', body: Buffer.from('a=b') },
  { path: '/missing', method: 'POST', body: Buffer.from('a=b') },
  ...['LOCALHOST', 'localhost.', 'a..b', 'other.example', '[::1]'].map((authority) => ({
    path: '/dir',
    authority,
  })),
]

/** Node's HTTP/2 library answers these with a reset before we see them (`docs/camouflage.md`). */
const HTTP1_QUERIES: WebQuery[] = [
  { path: '/', method: 'PUT', headers: { 'content-length': '1048577' } },
  { path: '/', headers: { range: 'bytes=0-4 ' } },
  { path: '/dir', authority: 'a/b' },
]

const nextBoundary = /\d{20}/g

function comparable(answer: WebAnswer, port: number): string {
  const headers = answer.headers.map(([name, value]) => [
    name,
    value.replace(nextBoundary, 'BOUNDARY').replace(`:${port}/`, ':PORT/'),
  ])
  const body = answer.body.toString('latin1').replace(nextBoundary, 'BOUNDARY')
  const content = body.length > 2000 ? createHash('sha256').update(body).digest('hex') : body
  return JSON.stringify({ status: answer.status, headers, content })
}

describe.skipIf(!hasNginx)(`decoy site and nginx${hasNginx ? '' : ' (skipped: no nginx here)'}`, () => {
  let root: string
  let nginx: Nginx
  let ours: WebHarness
  let files: SiteDirectory

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'culvert-site-'))
    await makeSite(root)
    nginx = await startNginx(root)
    const counters = new Counters()
    files = new SiteDirectory({ root, maxOpenFiles: 64 })
    const deps = { clock: systemClock, counters, files, pages: new WebPages(systemClock) }
    const watch = new IdleMonitor(systemClock)
    const options = {
      index: 'index.html',
      sendTimeoutMs: 60_000,
      maxContentBytes: 33_554_432,
      redirectPort: nginx.port,
    }
    const site = new DecoySite(options, { ...deps, idleMonitor: watch })
    ours = await startWebHarness((request) => site.handle(request))
  })

  afterAll(async () => {
    await ours[Symbol.asyncDispose]()
    await nginx[Symbol.asyncDispose]()
    await rm(root, { recursive: true })
  })

  it.each([
    ['HTTP/1.1', askHttp1, [...QUERIES, ...HTTP1_QUERIES], () => ours.http1Port] as const,
    ['HTTP/2', askHttp2, QUERIES, () => ours.http2Port] as const,
  ])('the decoy site and nginx give the same answers over %s', async (_, ask, queries, ourPort) => {
    const differences: unknown[] = []
    for (const query of queries) {
      const [theirs, mine] = await Promise.all([
        ask(nginx.port, query).then((answer) => comparable(answer, nginx.port), String),
        ask(ourPort(), query).then((answer) => comparable(answer, nginx.port), String),
      ])
      if (JSON.stringify(theirs) !== JSON.stringify(mine))
        differences.push({ query, nginx: theirs, ours: mine })
    }
    expect(differences).toEqual([])
    expect(files.openFiles).toBe(0)
  })
})

async function makeSite(root: string): Promise<void> {
  await mkdir(join(root, 'dir', 'sub'), { recursive: true })
  for (const name of ['empty', 'd x', 'dü', '<q>', 'd"q', 'd^b', 'd+q']) await mkdir(join(root, name))
  const contents: Record<string, string> = {
    'index.html': '<h1>hello</h1>\n',
    'dir/index.html': 'idx\n',
    'dir/sub/a.txt': 'sub\n',
    'dü/a.txt': 'umlaut\n',
    'a b.txt': 'space\n',
    'a%b': 'percent\n',
    noext: 'plain\n',
    'zero.txt': '',
    'UP.HTML': 'upper\n',
    'style.css': 'x{}\n',
    '.txt': 'dot\n',
    'big.bin': 'q'.repeat(300_000),
  }
  for (const extension of ['js', 'json', 'svg', 'woff2', 'unknown', 'tar.gz'])
    contents[`x.${extension}`] = extension
  for (const [name, content] of Object.entries(contents)) {
    await writeFile(join(root, name), content)
    await utimes(join(root, name), MODIFIED, MODIFIED)
  }
  await symlink('index.html', join(root, 'inner-link'))
}

expectNothingLeftOpen()
