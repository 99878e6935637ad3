/** Names that belong to another server: its TLS, its certificate, and both directions until each ends. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo, ListenOptions, Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { expect, it } from 'vitest'
import { createSelfSignedCertificate } from '../../src/cli/try/certificate.ts'
import { HostMap } from '../../src/gate/host-map.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startGate } from '../support/gate-harness.ts'
import type { GateHarness } from '../support/gate-harness.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openTcp, openTls, readNext, readToClose } from '../support/tls-client.ts'
import vectors from '../vectors/client-hello.json' with { type: 'json' }

const hello = Buffer.from(vectors[0]?.recordHex ?? '', 'hex')

async function listening(server: Server, where: ListenOptions): Promise<Server & AsyncDisposable> {
  server.listen(where)
  await once(server, 'listening')
  return server
}

function tlsServer(name: string): Server {
  const { certificate, privateKey } = createSelfSignedCertificate({ names: [name], days: 1 })
  return createTlsServer({ cert: certificate, key: privateKey }, (socket) => {
    socket.on('error', () => {})
    socket.write(`this is ${name}`)
    socket.pipe(socket)
  })
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

/** The name in the captured hello, which otherwise belongs to the harness's own hosts. */
function passOnly(port: number): HostMap {
  return new HostMap({ hosts: [], pass: [{ names: ['vpn.example.com'], to: { host: '127.0.0.1', port } }] })
}

it('passing on leaves TLS untouched, over TCP and to a unix socket', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-gate-'))
  const path = join(directory, 'web.sock')
  {
    await using web = await listening(tlsServer('www.example.org'), { port: 0, host: '127.0.0.1' })
    await using rest = await listening(tlsServer('rest.example.org'), { path })
    expect(rest.address()).toBe(path)
    await using harness = await startGate({
      gate: { unknownSni: 'pass' },
      pass: [
        { names: ['www.example.org', '*.www.example.org'], to: { host: '127.0.0.1', port: portOf(web) } },
        { names: [], to: { path } },
      ],
    })
    for (const [servername, answer] of [
      ['www.example.org', 'www.example.org'],
      ['A.www.EXAMPLE.org', 'www.example.org'],
      ['anything.example', 'rest.example.org'],
      ['', 'rest.example.org'],
    ] as const) {
      const socket = await openTls(harness.port, { servername, first: { pieceBytes: 100, recordBytes: 60 } })
      expect(socket.getPeerCertificate().subject.CN).toBe(answer)
      expect((await readNext(socket, 8 + answer.length)).toString()).toBe(`this is ${answer}`)
      socket.write('through')
      expect((await readNext(socket, 7)).toString()).toBe('through')
      socket.destroy()
    }
    expect(harness.counters.snapshot()).toMatchObject({ 'gate_accepted{pass}': 4 })
    expect(harness.accepted).toEqual([])
    await harness.waitFor('gate_connections', 0)
  }
  await rm(directory, { recursive: true })
})

it('passing on keeps half-close both ways', async () => {
  const received: Buffer[] = []
  const upstream = createTcpServer({ allowHalfOpen: true }, (socket) => {
    socket.on('data', (chunk: Buffer) => void received.push(chunk))
    // Answers only once the client has ended, which reveals an end that is not passed on, or passed back too early.
    socket.once('end', () => socket.end('answered after the end'))
  })
  await using server = await listening(upstream, { port: 0, host: '127.0.0.1' })
  await using harness = await startGate()
  harness.update({ hosts: passOnly(portOf(server)) })
  const client = await openTcp({ port: harness.port, host: '127.0.0.1', allowHalfOpen: true })
  client.end(hello)
  expect((await readToClose(client)).toString()).toBe('answered after the end')
  expect(Buffer.concat(received).equals(hello)).toBe(true)
})

it('passing on to a server that is not there closes and counts', async () => {
  const gone = await listening(createTcpServer(), { port: 0, host: '127.0.0.1' })
  const port = portOf(gone)
  gone.close()
  await once(gone, 'close')
  await using harness = await startGate()
  harness.update({ hosts: passOnly(port) })
  const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
  client.write(hello)
  expect((await readToClose(client)).length).toBe(0)
  await harness.waitFor('gate_dropped{pass_failed}', 1)
})

it('passing on lets go of the server when the client leaves, and of the client when the server resets', async () => {
  const clock = new FakeClock()
  const arrived: Socket[] = []
  const upstream = createTcpServer((socket) => {
    socket.on('error', () => {})
    socket.resume()
    arrived.push(socket)
  })
  await using server = await listening(upstream, { port: 0, host: '127.0.0.1' })
  await using harness = await startGate({ clock })
  harness.update({ hosts: passOnly(portOf(server)) })
  for (const leave of ['client', 'server'] as const) {
    const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
    const closed = readToClose(client)
    client.write(hello)
    await expect.poll(() => arrived.length).toBe(1)
    const [peer] = arrived.splice(0)
    if (peer === undefined) throw new Error('nobody arrived')
    const peerClosed = new Promise((resolve) => peer.once('close', resolve))
    if (leave === 'client') client.resetAndDestroy()
    else peer.resetAndDestroy()
    await Promise.all([closed, peerClosed])
    await harness.waitFor('gate_connections', 0)
  }
})

/** A connection that was passed on, and the server's end of it. */
async function passOne(harness: GateHarness): Promise<{ client: Socket; server: Socket } & AsyncDisposable> {
  const arrived = Promise.withResolvers<Socket>()
  const upstream = await listening(
    createTcpServer((socket) => {
      socket.on('error', () => {})
      arrived.resolve(socket)
    }),
    { port: 0, host: '127.0.0.1' },
  )
  harness.update({ hosts: passOnly(portOf(upstream)) })
  const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
  client.write(hello)
  const server = await arrived.promise
  await readNext(server, hello.length)
  return { client, server, [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose]() }
}

it('the gate lets a connection that was passed on finish when it closes, and refuses others meanwhile', async () => {
  await using harness = await startGate()
  await using passed = await passOne(harness)
  let closed = false
  const closing = harness.gate.close({ graceMs: 3_600_000 }).then(() => (closed = true))
  const late = await openTcp({ port: harness.port, host: '127.0.0.1' })
  await readToClose(late)
  passed.client.write('still')
  expect((await readNext(passed.server, 5)).toString()).toBe('still')
  passed.server.write('here')
  expect((await readNext(passed.client, 4)).toString()).toBe('here')
  expect(closed).toBe(false)
  passed.client.end()
  await closing
})

it('the gate ends a connection that was passed on when the grace is over', async () => {
  const clock = new FakeClock()
  await using harness = await startGate({ clock })
  await using passed = await passOne(harness)
  const closing = harness.gate.close({ graceMs: 5000 })
  const ended = readToClose(passed.client)
  clock.advance(5000)
  await Promise.all([closing, ended])
})

expectNothingLeftOpen()
