/**
 * One address could hold all requests that an origin may have under way, or all speed tests, and everybody else was
 * answered 503 for as long as it liked.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { OFFICIAL_HTTP2 } from '../support/http2-options.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

const [GREEDY, OTHER] = ['127.0.0.2', '127.0.0.3']
const EXCHANGES_OF_AN_ADDRESS = 256
const SPEEDTESTS_OF_AN_ADDRESS = 4
const REFUSED = 10

let origin: Server
let endpoint: TestEndpoint
let hanging = 0

beforeAll(async () => {
  origin = createServer((request, response) => {
    if (request.url === '/app/quick') return void response.end('quick')
    hanging++
    response.once('close', () => hanging--)
  })
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as AddressInfo
  endpoint = await startEndpoint({
    keys: 'speedtest_enable = true',
    protocols: ['http1'],
    tables: `${OFFICIAL_HTTP2}[reverse_proxy]\nserver_address = "127.0.0.1:${port}"\npath_mask = "/app"`,
  })
})

afterAll(async () => {
  await endpoint[Symbol.asyncDispose]()
  origin.closeAllConnections()
  origin.close()
})

/** Sends `GET path` and does not read the content. */
function get({ session }: H2Client, path: string, onStatus: (status: unknown) => void): void {
  const stream = session.request({ ':path': path, ':authority': 'vpn.endpoint' })
  stream.on('error', () => {})
  stream.on('response', (headers) => onStatus(headers[':status']))
}

async function statusOf(client: H2Client, path: string): Promise<unknown> {
  return await new Promise((resolve) => get(client, path, resolve))
}

it('an address that lets requests to the origin hang leaves places for others', async () => {
  await using greedy = await H2Client.open({ port: endpoint.port, localAddress: GREEDY })
  await using other = await H2Client.open({ port: endpoint.port, localAddress: OTHER })
  const statuses: unknown[] = []
  for (let index = 0; index < EXCHANGES_OF_AN_ADDRESS + REFUSED; index++)
    get(greedy, '/app/hang', (status) => statuses.push(status))
  await expect.poll(() => [hanging, statuses.length]).toEqual([EXCHANGES_OF_AN_ADDRESS, REFUSED])
  expect(new Set(statuses)).toEqual(new Set([503]))
  expect(await statusOf(greedy, '/app/quick')).toBe(503)
  expect(await statusOf(other, '/app/quick')).toBe(200)
  const stats = await endpoint.supervisor.stats()
  expect(stats['proxy_failures{too_many_of_address}']).toBe(REFUSED + 1)
})

it('an address that runs speed tests leaves places for others', async () => {
  await using greedy = await H2Client.open({ port: endpoint.port, localAddress: GREEDY })
  await using other = await H2Client.open({ port: endpoint.port, localAddress: OTHER })
  const wanted = Array.from({ length: SPEEDTESTS_OF_AN_ADDRESS + REFUSED }, () => '/speedtest/100mb.bin')
  const statuses = await Promise.all(wanted.map((path) => statusOf(greedy, path)))
  expect(statuses.filter((status) => status === 200)).toHaveLength(SPEEDTESTS_OF_AN_ADDRESS)
  expect(statuses.filter((status) => status === 503)).toHaveLength(REFUSED)
  expect(await statusOf(other, '/speedtest/1mb.bin')).toBe(200)
  const stats = await endpoint.supervisor.stats()
  expect(stats['speedtest_refusals{address}']).toBe(REFUSED)
})

expectNothingLeftOpen()
