/**
 * The limits of connections and handshakes hold for QUIC as for TCP. There were none: one address opened 640
 * connections in eight seconds.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { startEndpoint, USER } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H3Client } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { UdpRelay } from '../support/udp-relay.ts'

const AUTHORIZATION = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`

let endpoint: TestEndpoint | undefined
const clients: H3Client[] = []

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client[Symbol.asyncDispose]()))
  await endpoint?.waitUntilFree()
  await endpoint?.[Symbol.asyncDispose]()
})

async function start(limits: string, keys = ''): Promise<TestEndpoint> {
  endpoint = await startEndpoint({ protocols: ['http2', 'quic'], keys, tables: `[culvert.edge]\n${limits}` })
  return endpoint
}

/** Whether a health check is answered on a new connection, which stays open. */
async function isServed(port: number): Promise<boolean> {
  try {
    const client = await H3Client.open(port)
    clients.push(client)
    const answer = client.tunnel('_check', { 'proxy-authorization': AUTHORIZATION })
    return await Promise.race([answer.then(({ status }) => status === 200), client.closed.then(() => false)])
  } catch {
    return false
  }
}

async function serve(port: number, times: number): Promise<boolean[]> {
  const served: boolean[] = []
  while (served.length < times) served.push(await isServed(port))
  return served
}

describe('QUIC connections', () => {
  it('QUIC connections of one address beyond the limit are turned away, until one of them is over', async () => {
    const server = await start('connections_per_address = 3')
    expect(await serve(server.port, 5)).toEqual([true, true, true, false, false])
    const stats = await server.waitForStats((now) => now['gate_dropped{connections_per_address}'] === 2)
    expect(stats).toMatchObject({ gate_connections: 3, gate_tcp_connections: 0, http3_denied: 2 })
    expect(stats).toMatchObject({ gate_handshakes: 0 })
    await clients[0]?.session.close()
    await server.waitForStats((now) => now['gate_connections'] === 2)
    expect(await isServed(server.port)).toBe(true)
  })

  it('QUIC connections in all beyond the limit are turned away', async () => {
    const server = await start('connections_total = 1')
    expect(await serve(server.port, 2)).toEqual([true, false])
    await server.waitForStats((now) => now['gate_dropped{connections_total}'] === 1)
  })

  it('QUIC connections that come too fast are turned away', async () => {
    const server = await start('connection_burst = 2\nconnection_rate = 1')
    const served = await Promise.all(Array.from({ length: 12 }, () => isServed(server.port)))
    expect(served.filter(Boolean).length).toBeLessThan(12)
    await server.waitForStats((now) => (now['gate_dropped{connection_rate}'] ?? 0) > 0)
  })

  it('QUIC connections whose handshake never ends hold their place for as long as a TLS handshake may take', async () => {
    const server = await start('handshakes_total = 1', 'tls_handshake_timeout_secs = 1')
    await using relay = await UdpRelay.open(server.port)
    // The server's Retry gets through, but nothing after it.
    relay.filter = (direction) => direction === 'up' || relay.passed.down === 0
    const stuck = H3Client.open(relay.port, { connectTimeoutMs: 5000 }).catch(() => undefined)
    await server.waitForStats((now) => now['gate_handshakes'] === 1)
    await server.waitForStats((now) => now['http3_handshake_timeouts'] === 1 && now['gate_handshakes'] === 0)
    expect(await isServed(server.port)).toBe(true)
    await stuck
  })
})

/** The library keeps heads until a connection ends: 6000 refused requests with 50 KB of fields held 300 MiB. */
describe('heads over HTTP/3', () => {
  const fields = { 'x-large': 'x'.repeat(50_000) }

  it('4 MiB of heads without credentials end their session, and nobody else notices', async () => {
    const server = await start('')
    const [stranger, user] = [await H3Client.open(server.port), await H3Client.open(server.port)]
    clients.push(stranger, user)
    const ended = stranger.closed.then(() => true)
    let answers = 0
    const ask = (): Promise<boolean> => stranger.tunnel('a:1', fields).then(({ status }) => status !== 407)
    while (!(await Promise.race([ended, ask().catch(() => ended)]))) answers++
    expect(answers).toBe(Math.floor((4 * 1024 * 1024) / 50_100))
    const stats = await server.waitForStats((now) => now['client_sessions{HTTP3}'] === 1)
    expect(stats).toMatchObject({ http3_head_floods: 1 })
    expect((await user.tunnel('_check', { 'proxy-authorization': AUTHORIZATION })).status).toBe(200)
  })

  it('more than 4 MiB of heads of a client that has authenticated are answered', async () => {
    const server = await start('')
    const client = await H3Client.open(server.port)
    clients.push(client)
    const headers = { 'proxy-authorization': AUTHORIZATION, ...fields }
    for (let sent = 0; sent < 90; sent++) expect((await client.tunnel('_check', headers)).status).toBe(200)
  })
})

expectNothingLeftOpen()
