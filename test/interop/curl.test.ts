/** curl with the endpoint as its HTTPS proxy, over HTTP/1.1, as the README and the quick start say. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startBrowsableEndpoint } from '../support/browsable-endpoint.ts'
import { USER } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { missing, run } from '../support/outside-program.ts'
import type { Outcome } from '../support/outside-program.ts'
import { hashOfPattern, patternedBytes } from '../support/patterned-bytes.ts'
import { openWebTarget, TITLE } from '../support/web-target.ts'

const TRANSFER_BYTES = 50 * 1_048_576
/** `CURLE_RECV_ERROR`: how curl ends when a proxy refuses its CONNECT. */
const EXIT_RECEIVE = 56
const PATIENCE = { timeout: 60_000 }
const absent = missing('curl')

/** Verifies both certificates; `-q` and the empty `noproxy` keep the user's own settings out. */
function curl(
  endpoint: TestEndpoint,
  args: readonly string[],
  { password = USER.password, input }: { password?: string; input?: Buffer } = {},
): Promise<Outcome> {
  const certificate = join(endpoint.directory, 'cert.pem')
  const credentials = `${encodeURIComponent(USER.username)}:${encodeURIComponent(password)}`
  const proxy = `https://${credentials}@localhost:${endpoint.port}`
  const common = ['-q', '-sS', '--noproxy', '', '-x', proxy, '--proxy-cacert', certificate]
  return run('curl', [...common, '--cacert', certificate, ...args], {
    patienceMs: 50_000,
    ...(input !== undefined && { input }),
  })
}

/** Checks that everything went over HTTP/1.1, and that nothing is left. */
async function expectOnlyHttp1(endpoint: TestEndpoint): Promise<void> {
  const stats = await endpoint.waitForStats(
    (now) => now['client_sessions{HTTP1}'] === 0 && now.outbound_tcp_sockets === 0,
  )
  expect(stats['sessions_total{HTTP1}']).toBeGreaterThan(0)
  expect(stats['sessions_total{HTTP2}']).toBeUndefined()
}

describe.skipIf(absent.any)(`curl through the endpoint${absent.note}`, () => {
  it('curl fetches over HTTPS, and over HTTP with -p', PATIENCE, async () => {
    await using endpoint = await startBrowsableEndpoint()
    await using target = await openWebTarget()
    for (const args of [
      [`https://127.0.0.1:${target.httpsPort}/`],
      ['-p', `https://127.0.0.1:${target.httpsPort}/`],
      ['-p', `http://127.0.0.1:${target.httpPort}/`],
    ]) {
      const { code, stdout, stderr } = await curl(endpoint, args)
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout.toString()).toContain(TITLE)
    }
    expect(target.requested).toEqual(['/', '/', '/'])
    await expectOnlyHttp1(endpoint)
  })

  it('curl fetches over HTTP without -p, several files on one connection', PATIENCE, async () => {
    await using endpoint = await startBrowsableEndpoint()
    await using target = await openWebTarget()
    const origin = `http://127.0.0.1:${target.httpPort}`
    const page = await curl(endpoint, [`${origin}/`, `${origin}/many`])
    expect({ code: page.code, stderr: page.stderr }).toEqual({ code: 0, stderr: '' })
    expect(page.stdout.toString().split(TITLE)).toHaveLength(3)
    const down = await curl(endpoint, [`${origin}/download?bytes=${TRANSFER_BYTES}`])
    expect(createHash('sha1').update(down.stdout).digest('hex')).toBe(hashOfPattern(TRANSFER_BYTES))
    const up = await curl(endpoint, ['-T', '-', `${origin}/upload`], {
      input: patternedBytes(0, TRANSFER_BYTES),
    })
    expect(JSON.parse(up.stdout.toString())).toEqual({
      bytes: TRANSFER_BYTES,
      hash: hashOfPattern(TRANSFER_BYTES),
    })
    const stats = await endpoint.waitUntilFree()
    expect(stats).toMatchObject({ 'sessions_total{HTTP1}': 3, 'requests{forward}': 4 })
    await expectOnlyHttp1(endpoint)
  })

  it('curl gets a page of the web site for an http: address when the password is wrong', async () => {
    await using endpoint = await startBrowsableEndpoint()
    await using target = await openWebTarget()
    const { code, stdout } = await curl(endpoint, ['-i', `http://127.0.0.1:${target.httpPort}/`], {
      password: 'wrong',
    })
    expect(code).toBe(0)
    expect(stdout.toString()).toMatch(/^HTTP\/1\.1 200 .*\r\nserver: nginx\r\n/is)
    expect(stdout.toString()).not.toContain(TITLE)
    expect(target.requested).toEqual([])
    await expectOnlyHttp1(endpoint)
  })

  it('curl is refused with 407 when the password is wrong', async () => {
    await using endpoint = await startBrowsableEndpoint()
    await using target = await openWebTarget()
    for (const url of [`https://127.0.0.1:${target.httpsPort}/`, `http://127.0.0.1:${target.httpPort}/`]) {
      const { code, stdout, stderr } = await curl(endpoint, ['-p', '-w', '%{http_connect}', url], {
        password: 'wrong',
      })
      expect({ code, status: stdout.toString() }).toEqual({ code: EXIT_RECEIVE, status: '407' })
      expect(stderr).toContain('407')
    }
    expect(target.requested).toEqual([])
    await expectOnlyHttp1(endpoint)
  })

  it('curl moves 50 MiB down and up', PATIENCE, async () => {
    await using endpoint = await startBrowsableEndpoint()
    await using target = await openWebTarget()
    const origin = `https://127.0.0.1:${target.httpsPort}`
    const down = await curl(endpoint, [`${origin}/download?bytes=${TRANSFER_BYTES}`])
    expect(down.code).toBe(0)
    expect(down.stdout.length).toBe(TRANSFER_BYTES)
    expect(createHash('sha1').update(down.stdout).digest('hex')).toBe(hashOfPattern(TRANSFER_BYTES))
    const up = await curl(endpoint, ['-T', '-', `${origin}/upload`], {
      input: patternedBytes(0, TRANSFER_BYTES),
    })
    expect(up.code).toBe(0)
    expect(JSON.parse(up.stdout.toString())).toEqual({
      bytes: TRANSFER_BYTES,
      hash: hashOfPattern(TRANSFER_BYTES),
    })
    await expectOnlyHttp1(endpoint)
  })
})

expectNothingLeftOpen()
