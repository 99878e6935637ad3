/** Ping, speed test, reverse proxy and decoy over HTTP/3, as over the other versions. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H3Client, answerOf } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'

const MIB = 1_048_576
let origin: Server
let endpoint: TestEndpoint
let client: H3Client

beforeAll(async () => {
  origin = createServer((request, response) => {
    response.setHeader('x-method', request.method ?? '')
    response.setHeader('x-seen-protocol', String(request.headers['x-original-protocol']))
    request.pipe(response)
  })
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as AddressInfo
  endpoint = await startEndpoint({
    protocols: ['http1', 'http2', 'quic'],
    // An operator's own origin is not subject to the address policy.
    allowPrivate: false,
    keys: 'ping_enable = true\nspeedtest_enable = true',
    tables: `[reverse_proxy]\nserver_address = "127.0.0.1:${port}"\npath_mask = "/app"\nh3_backward_compatibility = true`,
  })
  client = await H3Client.open(endpoint.port)
})
afterAll(async () => {
  await client[Symbol.asyncDispose]()
  await endpoint[Symbol.asyncDispose]()
  origin.closeAllConnections()
  origin.close()
})

async function exchange(method: string, path: string, content?: Buffer) {
  const stream = client.request(
    {
      ':method': method,
      ':scheme': 'https',
      ':authority': 'vpn.endpoint',
      ':path': path,
      ...(content && { 'content-length': String(content.length) }),
    },
    { endStream: content === undefined },
  )
  const body = readAll(stream)
  if (content) stream.end(content)
  const { status, headers } = await answerOf(stream)
  return { status, headers, body: await body }
}

describe('over HTTP/3', () => {
  it('the web service over HTTP/3 answers a ping', async () => {
    expect(await exchange('GET', '/ping')).toMatchObject({ status: 200, body: Buffer.alloc(0) })
    // The session of a ping ends with its answer.
    client = await H3Client.open(endpoint.port)
  })

  it('the web service over HTTP/3 sends a speed test', async () => {
    const { status, body } = await exchange('GET', '/speedtest/3mb.bin')
    expect(status).toBe(200)
    expect(body.length).toBe(3 * MIB)
  })

  it('the web service over HTTP/3 takes a speed test', async () => {
    expect((await exchange('POST', '/speedtest/upload.html', Buffer.alloc(2 * MIB))).status).toBe(200)
  })

  it('the web service over HTTP/3 refuses a speed test of a size that there is not', async () => {
    expect((await exchange('GET', '/speedtest/101mb.bin')).status).toBe(400)
  })

  it('the web service over HTTP/3 passes requests on to the origin, both ways at once', async () => {
    const content = randomBytes(5 * MIB)
    const { status, headers, body } = await exchange('POST', '/app/echo', content)
    expect(status).toBe(200)
    expect(headers['x-seen-protocol']).toBe('HTTP3')
    expect(body.equals(content)).toBe(true)
  })

  it('the web service over HTTP/3 shows the site for any other path and method', async () => {
    expect((await exchange('GET', '/nothing/here')).status).toBe(404)
    expect((await exchange('DELETE', '/')).status).toBe(405)
    const { status, headers, body } = await exchange('HEAD', '/')
    expect({ status, server: headers['server'], length: body.length }).toEqual({
      status: 200,
      server: 'nginx',
      length: 0,
    })
  })
})

expectNothingLeftOpen()
