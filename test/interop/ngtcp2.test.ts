/** ngtcp2's client, as a visitor of the decoy site over HTTP/3. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import https from 'node:https'
import type { IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startBrowsableEndpoint } from '../support/browsable-endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { missing, run } from '../support/outside-program.ts'
import { readAll } from '../support/reading.ts'

const PROTOCOLS = ['http1', 'http2', 'quic'] as const
const REQUESTS = 100
const absent = missing('gtlsclient')

function visit(port: number, args: readonly string[], paths: readonly string[]) {
  const urls = paths.map((path) => `https://localhost:${port}${path}`)
  return run('gtlsclient', ['--exit-on-all-streams-close', ...args, 'localhost', `${port}`, ...urls])
}

/** Checks that there was one session over HTTP/3, and that nothing of it is left. */
async function expectOneVisit(endpoint: TestEndpoint): Promise<void> {
  const stats = await endpoint.waitForStats(
    (now) => now['client_sessions{HTTP3}'] === 0 && now.open_streams === 0,
  )
  expect(stats['sessions_total{HTTP3}']).toBe(1)
}

/** Every `:status` of its log. */
function statuses(text: string): string[] {
  return [...text.matchAll(/\[:status: (\d+)\]/g)].map(([, status = '']) => status)
}

describe.skipIf(absent.any)(`ngtcp2's client${absent.note}`, () => {
  it("ngtcp2's client gets the decoy page as it is over TCP, and its 404", async () => {
    await using endpoint = await startBrowsableEndpoint({ protocols: PROTOCOLS })
    const directory = await mkdtemp(join(tmpdir(), 'culvert-ngtcp2-'))
    try {
      const { code, stdout, stderr } = await visit(
        endpoint.port,
        ['--download', directory],
        ['/', '/missing'],
      )
      const text = stdout.toString() + stderr
      expect(code).toBe(0)
      expect(text).toContain('Negotiated ALPN is h3')
      expect(statuses(text).toSorted()).toEqual(['200', '404'])
      expect(text).toContain('[server: nginx]')
      const overTcp = await pageOverTcp(endpoint.port)
      expect(await readFile(join(directory, 'index.html'))).toEqual(overTcp)
    } finally {
      await rm(directory, { recursive: true })
    }
    await expectOneVisit(endpoint)
  })

  it("ngtcp2's client gets the decoy page many times on one connection", async () => {
    await using endpoint = await startBrowsableEndpoint({ protocols: PROTOCOLS })
    const { code, stdout, stderr } = await visit(
      endpoint.port,
      ['--no-http-dump', '--no-quic-dump', '--nstreams', `${REQUESTS}`],
      ['/'],
    )
    expect(code).toBe(0)
    expect(statuses(stdout.toString() + stderr)).toEqual(Array<string>(REQUESTS).fill('200'))
    await expectOneVisit(endpoint)
  })

  it("ngtcp2's client is told the version, the windows and the idle limit of the specification", async () => {
    await using endpoint = await startBrowsableEndpoint({ protocols: PROTOCOLS })
    const { stdout, stderr } = await visit(endpoint.port, ['--no-http-dump'], ['/'])
    const text = stdout.toString() + stderr
    expect(text).toContain('the negotiated version is 0x00000001')
    for (const parameter of [
      'max_idle_timeout=74000',
      'initial_max_data=104857600',
      'initial_max_streams_bidi=4096',
      'disable_active_migration=1',
    ])
      expect(text).toContain(`remote transport_parameters ${parameter}\n`)
  })

  it("ngtcp2's client hears nothing from an endpoint without HTTP/3", async () => {
    await using endpoint = await startBrowsableEndpoint()
    const { stdout, stderr } = await visit(
      endpoint.port,
      ['--timeout', '500ms', '--handshake-timeout', '1s'],
      ['/'],
    )
    expect(statuses(stdout.toString() + stderr)).toEqual([])
  })
})

async function pageOverTcp(port: number): Promise<Buffer> {
  const request = https.get({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return readAll(response)
}

expectNothingLeftOpen()
