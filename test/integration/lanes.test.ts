/**
 * Several lanes are one endpoint: they share a port, the limits of users and addresses, what a reload changes, and what
 * is counted. What one of them cannot do, none does.
 */
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { OPEN_EDGE, USER, startEndpoint } from '../support/endpoint.ts'
import type { EndpointOptions, TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { H3Client } from '../support/h3-client.ts'
import { REFUSING_LANE } from '../support/lane-killer.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openEcho } from '../support/targets.ts'

const LANES = 2
const start = (options: EndpointOptions = {}): Promise<TestEndpoint> =>
  startEndpoint({ lanes: LANES, ...options })

const BOB = '[[client]]\nusername = "bob"\npassword = "b"\n'
const AS_BOB = { 'proxy-authorization': encodeBasicAuth('bob', 'b') }

async function openMany(count: number, port: number): Promise<H2Client[]> {
  return Promise.all(Array.from({ length: count }, () => H2Client.open({ port, ...USER })))
}

describe('two lanes', () => {
  it('two lanes share a port, and what they count is summed', async () => {
    await using endpoint = await start({ tables: OPEN_EDGE })
    const clients = await openMany(32, endpoint.port)
    for (const client of clients) expect((await client.connect('_check')).status).toBe(200)
    const stats = await endpoint.supervisor.stats()
    expect(stats['client_sessions{HTTP2}']).toBe(32)
    expect(stats['requests{check}']).toBe(32)
    for (const client of clients) await client[Symbol.asyncDispose]()
    await endpoint.waitUntilFree()
    // Each connection has its own lane with a chance of one half: all on one lane would be one in 2^31.
    const lanesOf = new Set(
      endpoint.logs.filter(({ msg }) => msg === 'session ended').map(({ session }) => prefixOf(session)),
    )
    expect(lanesOf.size).toBe(LANES)
  })

  it('two lanes share a limit of sessions exactly', async () => {
    const credentials = `[[client]]\nusername = "premium"\npassword = 'p:w"x'\nmax_http2_conns = 7\n`
    await using endpoint = await start({ tables: OPEN_EDGE, credentials })
    const clients = await openMany(24, endpoint.port)
    const answers = await Promise.all(clients.map((client) => client.connect('_check')))
    const statuses = answers.map(({ status }) => status)
    expect(statuses.filter((status) => status === 200).length).toBe(7)
    expect(statuses.filter((status) => status === 429).length).toBe(17)
    for (const client of clients) await client[Symbol.asyncDispose]()
    await endpoint.waitUntilFree()
    // All places have been given back.
    const again = await openMany(7, endpoint.port)
    for (const client of again) expect((await client.connect('_check')).status).toBe(200)
    for (const client of again) await client[Symbol.asyncDispose]()
  })

  it('two lanes share a limit of tunnels exactly', async () => {
    await using echo = await openEcho()
    await using endpoint = await start({ tables: `${OPEN_EDGE}[culvert.users]\nmax_tunnels = 9\n` })
    const clients = await openMany(10, endpoint.port)
    const answers = await Promise.all(
      clients.flatMap((client) => [client.connect(echo.authority), client.connect(echo.authority)]),
    )
    expect(answers.filter(({ status }) => status === 200).length).toBe(9)
    expect(answers.filter(({ status }) => status === 429).length).toBe(11)
    for (const client of clients) await client[Symbol.asyncDispose]()
  })

  it('two lanes share the limits of an address exactly', async () => {
    await using endpoint = await start({
      tables:
        '[culvert.edge]\nconnections_per_address = 5\nconnection_burst = 100000\nconnection_rate = 1000\n',
    })
    const attempts = await Promise.allSettled(
      Array.from({ length: 20 }, () => H2Client.open({ port: endpoint.port, ...USER })),
    )
    const open = attempts.flatMap((attempt) => (attempt.status === 'fulfilled' ? [attempt.value] : []))
    expect(open.length).toBe(5)
    const stats = await endpoint.supervisor.stats()
    expect(stats['gate_connections']).toBe(5)
    expect(stats['gate_dropped{connections_per_address}']).toBe(15)
    for (const client of open) await client[Symbol.asyncDispose]()
  })

  it('two lanes have HTTP/3 in one of them', async () => {
    await using endpoint = await start({ protocols: ['http2', 'quic'] })
    const clients = await Promise.all([1, 2, 3, 4].map(() => H3Client.open(endpoint.port)))
    const authorization = encodeBasicAuth(USER.username, USER.password)
    for (const client of clients)
      expect((await client.tunnel('_check', { 'proxy-authorization': authorization })).status).toBe(200)
    for (const client of clients) await client[Symbol.asyncDispose]()
  })
})

describe('a reload of two lanes', () => {
  it('a reload of two lanes reaches both', async () => {
    await using endpoint = await start({ tables: OPEN_EDGE })
    await writeFile(join(endpoint.directory, 'credentials.toml'), BOB)
    await endpoint.supervisor.reload()
    const clients = await openMany(16, endpoint.port)
    for (const client of clients) expect((await client.connect('_check', AS_BOB)).status).toBe(200)
    for (const client of clients) await client[Symbol.asyncDispose]()
  })

  it('a reload of two lanes reaches none when one of them refuses', async () => {
    await using endpoint = await start({ tables: OPEN_EDGE, laneThread: REFUSING_LANE })
    await writeFile(join(endpoint.directory, 'credentials.toml'), BOB)
    await expect(endpoint.supervisor.reload()).rejects.toThrow('refused by lane 1')
    const clients = await openMany(16, endpoint.port)
    for (const client of clients) {
      expect((await client.connect('_check')).status).toBe(200)
    }
    for (const client of clients) await client[Symbol.asyncDispose]()
    const others = await openMany(16, endpoint.port)
    for (const client of others) expect((await client.connect('_check', AS_BOB)).status).toBe(407)
    for (const client of others) await client[Symbol.asyncDispose]()
  })
})

describe('the start of two lanes', () => {
  it('the start of two lanes fails when somebody else has the port, and leaves nothing open', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as { port: number }
    await expect(start({ listen: `127.0.0.1:${port}` })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    other.close()
    await once(other, 'close')
  })

  it('the start of two lanes fails when another endpoint has the port, although that would share it', async () => {
    await using endpoint = await start()
    await expect(start({ listen: `127.0.0.1:${endpoint.port}` })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    })
  })

  it('the start of two lanes fails when one of them does, and closes the other', async () => {
    const other = await start({
      laneThread: REFUSING_LANE,
      logLevel: 'silent',
      keys: 'speedtest_enable = true',
    }).catch((error: unknown) => error)
    expect(other).toMatchObject({ message: 'start refused by lane 1' })
  })
})

/** Ids of sessions begin differently in each lane. */
function prefixOf(session: unknown): string {
  return String(session).split('-').slice(0, -1).join('-')
}

expectNothingLeftOpen()
