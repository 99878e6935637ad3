/** What the decoy site must never do: leave its directory, keep a file open, send less than it promised. */
import { once } from 'node:events'
import { open, mkdir, mkdtemp, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { execFileSync } from 'node:child_process'
import http2 from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { DecoySite } from '../../src/web/nginx/decoy-site.ts'
import { DefaultSite } from '../../src/web/nginx/default-site.ts'
import { SiteDirectory } from '../../src/web/nginx/site-directory.ts'
import type { SiteFiles } from '../../src/web/nginx/site-files.ts'
import { IdleMonitor } from '../../src/relay/idle-monitor.ts'
import { WebPages } from '../../src/web/nginx/web-pages.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { settled } from '../support/settled.ts'
import { startWebHarness } from '../support/web-harness.ts'
import type { WebHarness } from '../support/web-harness.ts'
import { askHttp1, askHttp2, field } from '../support/web-client.ts'

const BIG_BYTES = 64 * 1_048_576
const SECRET = 'top secret'

let base: string
let root: string
let files: SiteDirectory
let watch: IdleMonitor
const harnesses: WebHarness[] = []

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'culvert-decoy-'))
  root = join(base, 'site')
  await mkdir(join(root, 'dir'), { recursive: true })
  await mkdir(join(base, 'site-twin'))
  await writeFile(join(base, 'secret.txt'), SECRET)
  await writeFile(join(base, 'site-twin', 'secret.txt'), SECRET)
  await writeFile(join(root, 'index.html'), '<p>home</p>')
  await writeFile(join(root, 'dir', 'a.txt'), 'a')
  const big = await open(join(root, 'big.bin'), 'w')
  await big.truncate(BIG_BYTES)
  await big.close()
})

afterEach(async () => {
  for (const harness of harnesses.splice(0)) await harness[Symbol.asyncDispose]()
  await settled(() => files.openFiles === 0 && watch.size === 0)
  await rm(base, { recursive: true })
})

async function serve({
  maxOpenFiles = 16,
  clock = systemClock,
  from,
}: { maxOpenFiles?: number; clock?: Clock; from?: SiteFiles } = {}): Promise<WebHarness> {
  files = new SiteDirectory({ root, maxOpenFiles })
  watch = new IdleMonitor(clock)
  const deps = {
    clock,
    counters: new Counters(),
    pages: new WebPages(clock),
    idleMonitor: watch,
    files: from ?? files,
  }
  const site = new DecoySite(
    { index: 'index.html', sendTimeoutMs: 60_000, maxContentBytes: 33_554_432 },
    deps,
  )
  const harness = await startWebHarness((request) => site.handle(request), 'decoy')
  harnesses.push(harness)
  return harness
}

describe('the directory is all there is', () => {
  it.each([
    ['a link to a file outside', 'out.txt', '../secret.txt', '/out.txt'],
    ['an absolute link', 'abs.txt', '/etc/passwd', '/abs.txt'],
    ['a link to a directory outside', 'outdir', '..', '/outdir/secret.txt'],
    ['a link to a directory whose name begins alike', 'twin', '../site-twin', '/twin/secret.txt'],
    ['a link to the root of the machine', 'all', '/', '/all/etc/passwd'],
    ['a link to itself', 'loop', 'loop', '/loop'],
    ['a link to nothing', 'gone', 'nowhere', '/gone'],
  ])('the decoy site has nothing at %s', async (_, name, target, path) => {
    await symlink(target, join(root, name))
    const web = await serve()
    const answer = await askHttp1(web.http1Port, { path })
    expect(answer.status).toBe(404)
    expect((await askHttp1(web.http1Port, { path: `/${name}/` })).status).toBe(404)
  })

  it('the decoy site follows links that stay inside', async () => {
    await symlink('dir/a.txt', join(root, 'in.txt'))
    await symlink(join(root, 'dir'), join(root, 'indir'))
    const web = await serve()
    expect((await askHttp1(web.http1Port, { path: '/in.txt' })).body.toString()).toBe('a')
    expect((await askHttp1(web.http1Port, { path: '/indir/a.txt' })).body.toString()).toBe('a')
  })

  it('the decoy site never shows the secret, however the way up is written', async () => {
    const web = await serve()
    const ups = [
      '..',
      '%2e%2e',
      '.%2e',
      '%2E.',
      '..%00',
      '%252e%252e',
      '..\\',
      '..%5c',
      '..;',
      '%c0%ae%c0%ae',
      '....',
    ]
    const slashes = ['/', '%2f', '%2F', '//', '%5c', '\\']
    for (const up of ups) {
      for (const slash of slashes) {
        for (const path of [`/${up}${slash}secret.txt`, `/dir${slash}${up}${slash}${up}${slash}secret.txt`]) {
          const answer = await askHttp1(web.http1Port, { path })
          expect([400, 404], path).toContain(answer.status)
          expect(answer.body.toString()).not.toContain(SECRET)
        }
      }
    }
  })

  it('the decoy site does not wait for a pipe and does not open a device', async () => {
    execFileSync('mkfifo', [join(root, 'pipe')])
    const web = await serve()
    expect((await askHttp1(web.http1Port, { path: '/pipe' })).status).toBe(404)
  })

  it('the decoy site says nothing about a directory without an index', async () => {
    const web = await serve()
    const answer = await askHttp2(web.http2Port, { path: '/dir/' })
    expect(answer.status).toBe(403)
    expect(answer.body.toString()).not.toContain('a.txt')
  })
})

describe('files', () => {
  it.each([
    ['HTTP/1.1', askHttp1, (web: WebHarness) => web.http1Port] as const,
    ['HTTP/2', askHttp2, (web: WebHarness) => web.http2Port] as const,
  ])('the decoy site sends a large file whole over %s', async (_, ask, portOf) => {
    const web = await serve()
    const answer = await ask(portOf(web), { path: '/big.bin' })
    expect(answer.body.length).toBe(BIG_BYTES)
    expect(field(answer, 'content-length')).toBe(String(BIG_BYTES))
  })

  it('the decoy site reads no file further than a client that does not read, and closes it when he leaves', async () => {
    const web = await serve()
    const startRss = process.memoryUsage.rss()
    const session = http2.connect(`https://localhost:${web.http2Port}`, {
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    const streams = Array.from({ length: 8 }, () => session.request({ ':path': '/big.bin' }))
    for (const stream of streams) stream.on('error', () => {})
    await Promise.all(streams.map((stream) => once(stream, 'response')))
    await settled(() => files.openFiles === 0)
    // 512 MiB are requested; only a small part may be read ahead.
    expect(process.memoryUsage.rss() - startRss).toBeLessThan(64 * 1_048_576)
    expect(watch.size).toBe(8)
    streams[0]?.close(http2.constants.NGHTTP2_CANCEL)
    await settled(() => watch.size === 7)
    session.destroy()
    await settled(() => watch.size === 0)
  })

  it('the decoy site gives up a client that stands still', async () => {
    const clock = new FakeClock()
    const web = await serve({ clock })
    const session = http2.connect(`https://localhost:${web.http2Port}`, {
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    const stream = session.request({ ':path': '/big.bin' })
    const closed = new Promise((resolve) => stream.once('close', resolve))
    stream.on('error', () => {})
    await once(stream, 'response')
    await settled(() => files.openFiles === 0 && watch.size === 1)
    clock.advance(30_000)
    await turn()
    expect(watch.size).toBe(1)
    clock.advance(45_000)
    await settled(() => watch.size === 0)
    stream.resume()
    await closed
    expect(stream.rstCode).not.toBe(http2.constants.NGHTTP2_NO_ERROR)
    session.destroy()
  })

  it('the decoy site gives files to one after the other when many are wanted', async () => {
    const web = await serve({ maxOpenFiles: 1 })
    const answers = await Promise.all(Array.from({ length: 20 }, () => askHttp1(web.http1Port, {})))
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
  })

  it('the decoy site breaks off when a file is replaced while its client waits', async () => {
    const web = await serve()
    const session = http2.connect(`https://localhost:${web.http2Port}`, {
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    const stream = session.request({ ':path': '/big.bin' })
    await once(stream, 'response')
    await settled(() => files.openFiles === 0)
    await writeFile(join(root, 'new.bin'), 'other content')
    await rename(join(root, 'new.bin'), join(root, 'big.bin'))
    stream.resume()
    await expect(once(stream, 'end')).rejects.toThrow()
    session.destroy()
  })

  it('the decoy site breaks off rather than ending short when a file shrinks', async () => {
    const web = await serve()
    const session = http2.connect(`https://localhost:${web.http2Port}`, {
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    const stream = session.request({ ':path': '/big.bin' })
    await once(stream, 'response')
    await truncate(join(root, 'big.bin'), 1000)
    stream.resume()
    await expect(once(stream, 'end')).rejects.toThrow()
    session.destroy()
  })

  it('the decoy site holds no file open for answers without content', async () => {
    const web = await serve()
    const validators = await askHttp1(web.http1Port, { path: '/big.bin', method: 'HEAD' })
    const etag = field(validators, 'etag') ?? ''
    for (const headers of [
      { 'if-none-match': etag },
      { 'if-match': '"x"' },
      { range: 'bytes=99999999999-' },
    ]) {
      await askHttp2(web.http2Port, { path: '/big.bin', headers })
    }
    await askHttp2(web.http2Port, { path: '/big.bin', method: 'POST', body: Buffer.from('x') })
    await settled(() => files.openFiles === 0)
  })
})

describe('the default page', () => {
  it('the default page is an ordinary page that names nobody', async () => {
    const web = await serve({ from: new DefaultSite() })
    const answer = await askHttp2(web.http2Port, {})
    expect(answer.status).toBe(200)
    expect(field(answer, 'content-type')).toBe('text/html')
    expect(JSON.stringify(answer.headers) + answer.body.toString()).not.toMatch(
      /culvert|trusttunnel|node|vpn|proxy/i,
    )
    expect((await askHttp2(web.http2Port, { path: '/index.html' })).body).toEqual(answer.body)
    expect((await askHttp2(web.http2Port, { path: '/other' })).status).toBe(404)
    const part = await askHttp2(web.http2Port, { headers: { range: 'bytes=0-3' } })
    expect([part.status, part.body.toString()]).toEqual([206, '<!DO'])
  })
})

expectNothingLeftOpen()
