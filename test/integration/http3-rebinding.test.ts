/**
 * A NAT that forgets an HTTP/3 client gives it another port in mid-session (RFC 9000 section 9.3.3). The official
 * client has connection ids of length zero, so its server must recognise it by the server's own ids; streams go on as
 * if nothing had happened. The library follows one such change per session (docs/decisions/002-http3-package.md).
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startEndpoint, USER } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H3Client } from '../support/h3-client.ts'
import { readBytes } from '../support/reading.ts'
import { openEcho } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'
import { UdpRelay } from '../support/udp-relay.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

const AUTHORIZATION = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`

let endpoint: TestEndpoint
let echo: TcpTarget

beforeAll(async () => {
  echo = await openEcho()
  endpoint = await startEndpoint({ protocols: ['quic'] })
})

afterAll(async () => {
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
  await echo[Symbol.asyncDispose]()
})

async function openTunnel(client: H3Client) {
  const authority = `127.0.0.1:${echo.port}`
  const { status, stream } = await client.tunnel(authority, { 'proxy-authorization': AUTHORIZATION })
  expect(status).toBe(200)
  return stream
}

it('an idle tunnel goes on from another port of the client, and new ones open, for each of eight clients', async () => {
  const clients = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const relay = await UdpRelay.open(endpoint.port)
      const client = await H3Client.open(relay.port)
      return { relay, client, stream: await openTunnel(client) }
    }),
  )
  for (const { relay, client, stream } of clients) {
    stream.write('before')
    expect(String(await readBytes(stream, 6))).toBe('before')
    relay.rebind()
    stream.write('behind')
    expect(String(await readBytes(stream, 6))).toBe('behind')
    await openTunnel(client)
  }
  const stats = await endpoint.supervisor.stats()
  expect(stats['client_sessions{HTTP3}']).toBe(8)
  for (const { client } of clients) await client[Symbol.asyncDispose]()
  // The relays must still carry the goodbyes.
  await endpoint.waitUntilFree()
  for (const { relay } of clients) await relay[Symbol.asyncDispose]()
})

expectNothingLeftOpen()
