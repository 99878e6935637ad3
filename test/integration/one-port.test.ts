/**
 * The same files serve HTTP/1.1, HTTP/2 and HTTP/3 on one port (specification 3.3): same credentials, same answers,
 * TCP, UDP and health checks over each.
 */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { UdpDownlinkDecoder, encodeAddressing, encodeUdpUplink } from '../../src/wire/udp-frame.ts'
import type { DownlinkDatagram } from '../../src/wire/udp-frame.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { H3Client, answerOf } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'
import { findClosedPort } from '../support/closed-port.ts'
import { openEcho, openTcpTarget, openUdpEcho } from '../support/targets.ts'

const AUTHORIZATION = { 'proxy-authorization': encodeBasicAuth(USER.username, USER.password) }

let endpoint: TestEndpoint
beforeAll(async () => {
  endpoint = await startEndpoint({ protocols: ['http1', 'http2', 'quic'] })
})
afterAll(() => endpoint[Symbol.asyncDispose]())

describe('one port', () => {
  it('one port of the endpoint speaks HTTP/1.1', async () => {
    await using echo = await openEcho()
    const socket = connect({ port: endpoint.port, servername: 'vpn.endpoint', rejectUnauthorized: false })
    const field = `Proxy-Authorization: ${AUTHORIZATION['proxy-authorization']}\r\n`
    socket.end(`CONNECT ${echo.authority} HTTP/1.1\r\nHost: ${echo.authority}\r\n${field}\r\nover http/1.1`)
    expect((await readAll(socket)).toString()).toMatch(/^HTTP\/1\.1 200 .*\r\n\r\nover http\/1\.1$/s)
  })

  it('one port of the endpoint speaks HTTP/2', async () => {
    await using echo = await openEcho()
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    const { stream } = await client.connect(echo.authority)
    stream.end('over http/2')
    expect((await readAll(stream)).toString()).toBe('over http/2')
  })

  it('one port of the endpoint speaks HTTP/3', async () => {
    await using echo = await openEcho()
    await using client = await H3Client.open(endpoint.port)
    const { status, stream } = await client.tunnel(echo.authority, AUTHORIZATION)
    expect(status).toBe(200)
    stream.end('over http/3')
    expect((await readAll(stream)).toString()).toBe('over http/3')
  })
})

describe('HTTP/3 through the whole endpoint', () => {
  it('HTTP/3 through the whole endpoint challenges strangers and keeps the session', async () => {
    await using client = await H3Client.open(endpoint.port)
    const { status, headers, stream } = await client.tunnel('_check')
    expect(status).toBe(407)
    expect(headers['proxy-authenticate']).toBe('Basic realm="Authorization Required"')
    expect((await readAll(stream)).length).toBe(0)
    expect((await client.tunnel('_check', AUTHORIZATION)).status).toBe(200)
  })

  it('HTTP/3 through the whole endpoint answers with the rows of the error table', async () => {
    await using client = await H3Client.open(endpoint.port)
    const port = await findClosedPort()
    const refused = await client.tunnel(`127.0.0.1:${port}`, AUTHORIZATION)
    expect(refused.status).toBe(502)
    expect(refused.headers['x-warning']).toBe('300 - Connection failed for some reason')
    expect((await client.tunnel('_icmp', AUTHORIZATION)).status).toBe(501)
  })

  it('HTTP/3 through the whole endpoint keeps half-close both ways', async () => {
    await using target = await openTcpTarget((socket) => {
      const chunks: Buffer[] = []
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      socket.on('end', () => socket.end(`got ${Buffer.concat(chunks).length}`))
    })
    await using client = await H3Client.open(endpoint.port)
    const { stream } = await client.tunnel(target.authority, AUTHORIZATION)
    stream.end(Buffer.alloc(300_000))
    expect((await readAll(stream)).toString()).toBe('got 300000')
  })

  it('HTTP/3 through the whole endpoint carries UDP', async () => {
    await using echo = await openUdpEcho()
    await using client = await H3Client.open(endpoint.port)
    const { stream } = await client.tunnel('_udp2', AUTHORIZATION)
    const reply = Promise.withResolvers<DownlinkDatagram>()
    const decoder = new UdpDownlinkDecoder(reply.resolve)
    stream.on('data', (chunk: Buffer) => decoder.push(chunk))
    const source = { address: '10.0.0.2', family: 4, port: 5000 } as const
    const destination = { address: '127.0.0.1', family: 4, port: echo.port } as const
    stream.write(encodeUdpUplink(encodeAddressing(source, destination), Buffer.from('over http/3'), 'test'))
    const { payload, ...addresses } = await reply.promise
    expect(payload.toString()).toBe('over http/3')
    expect(addresses).toEqual({ source: destination, destination: source })
  })

  it('HTTP/3 through the whole endpoint delivers 64 MiB unchanged, whatever memory they were read into', async () => {
    const content = randomBytes(64 * 1_048_576)
    await using target = await openTcpTarget((socket) => socket.end(content))
    await using client = await H3Client.open(endpoint.port)
    const tunnels = await Promise.all([1, 2].map(() => client.tunnel(target.authority, AUTHORIZATION)))
    const copies = await Promise.all(tunnels.map(({ stream }) => readAll(stream)))
    for (const copy of copies) expect(copy.equals(content)).toBe(true)
    for (const { stream } of tunnels) stream.end()
  })

  it('HTTP/3 through the whole endpoint shows strangers the same site', async () => {
    await using client = await H3Client.open(endpoint.port)
    const over3 = client.request(
      { ':method': 'GET', ':scheme': 'https', ':authority': 'vpn.endpoint', ':path': '/' },
      { endStream: true },
    )
    const content = readAll(over3)
    const { headers } = await answerOf(over3)
    expect(headers['server']).toBe('nginx')
    const page = (await content).toString()
    await using second = await H2Client.open({ port: endpoint.port })
    const over2 = second.session.request({ ':path': '/', ':authority': 'vpn.endpoint' })
    expect(page).toBe((await readAll(over2)).toString())
  })

  it('HTTP/3 through the whole endpoint leaves nothing behind', async () => {
    const stats = await endpoint.waitForStats(
      (now) =>
        now['open_streams'] === 0 && now['client_sessions{HTTP3}'] === 0 && now['outbound_udp_sockets'] === 0,
    )
    expect(stats['outbound_tcp_sockets']).toBe(0)
  })
})

expectNothingLeftOpen()
