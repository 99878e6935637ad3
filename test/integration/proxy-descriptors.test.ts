/**
 * Connections to an origin used to be outside the reserve of descriptors: a stranger with hundreds of requests that the
 * origin did not answer took every descriptor there was, and a reload could not read its files.
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { expect, it } from 'vitest'
import { OPEN_EDGE } from '../support/endpoint.ts'
import { EndpointProcess } from '../support/endpoint-process.ts'
import { H2Client } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'

const LIMIT = 400
/** One address alone gets a quarter of the descriptors. */
const GREEDY = ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5', '127.0.0.6', '127.0.0.7']
const WANTED_BY_EACH = 150

it('requests that hang at an origin leave descriptors for visitors and a reload', async () => {
  const held = new Set<Socket>()
  const origin = createServer((socket) => {
    held.add(socket)
    socket.on('error', () => {}).once('close', () => held.delete(socket))
    socket.resume()
  })
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as AddressInfo
  await using endpoint = await EndpointProcess.start({
    descriptors: LIMIT,
    tables: `${OPEN_EDGE}[reverse_proxy]\nserver_address = "127.0.0.1:${port}"\npath_mask = "/app"`,
  })
  const open = (localAddress: string): Promise<H2Client> =>
    H2Client.open({ port: endpoint.port, localAddress })
  const greedy = await Promise.all(GREEDY.map((address) => open(address)))
  const statuses: unknown[] = []
  for (const { session } of greedy) {
    for (let index = 0; index < WANTED_BY_EACH; index++) {
      const stream = session.request({ ':path': `/app/${index}`, ':authority': 'vpn.endpoint' })
      stream.on('error', () => {})
      stream.on('response', (headers) => statuses.push(headers[':status']))
      stream.resume()
    }
  }
  const wanted = GREEDY.length * WANTED_BY_EACH
  await expect.poll(() => held.size + statuses.length, { timeout: 10_000 }).toBe(wanted)
  expect(new Set(statuses)).toEqual(new Set([503]))
  expect(held.size).toBeGreaterThan(0)

  const visitor = connectTls({ port: endpoint.port, servername: 'vpn.endpoint', rejectUnauthorized: false })
  await once(visitor, 'secureConnect')
  visitor.write('GET / HTTP/1.1\r\nhost: vpn.endpoint\r\nconnection: close\r\n\r\n')
  expect((await readAll(visitor)).toString()).toMatch(/^HTTP\/1\.1 200 /)
  endpoint.program.signal('SIGHUP')
  await endpoint.program.output(/"configuration reloaded"/)

  await Promise.all(greedy.map((client) => client[Symbol.asyncDispose]()))
  await expect.poll(() => held.size).toBe(0)
  origin.close()
  await once(origin, 'close')
})

expectNothingLeftOpen()
