/** The ClientHello in every way it can arrive, and bytes that are not a ClientHello. */
import { once } from 'node:events'
import { Socket } from 'node:net'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { InboundRules } from '../../src/gate/inbound-rules.ts'
import { ClientHelloParser } from '../../src/wire/client-hello.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { HELLO_TIMEOUT_MS, startGate } from '../support/gate-harness.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { inboundRules } from '../support/rules.ts'
import {
  inRecords,
  openTcp,
  openTls,
  readGreeting,
  readNext,
  readToClose,
  writeInPieces,
} from '../support/tls-client.ts'
import vectors from '../vectors/client-hello.json' with { type: 'json' }

const captured = vectors.map((vector) => ({ ...vector, bytes: Buffer.from(vector.recordHex, 'hex') }))
const largest = captured.toSorted((left, right) => right.bytes.length - left.bytes.length)[0]
if (largest === undefined) throw new Error('no vectors')

describe('a handshake completes, with the hello', () => {
  const manyProtocols = Array.from({ length: 40 }, (_, index) => `protocol-of-some-length/${index}`)
  it.each([
    ['in one piece', undefined, {}],
    ['byte by byte with pauses', { pieceBytes: 1 }, {}],
    ['first one byte, then the rest', { pieceBytes: 1, recordBytes: 1000 }, {}],
    ['in records of one byte', { recordBytes: 1 }, {}],
    ['in records of seven bytes, in pieces of three', { recordBytes: 7, pieceBytes: 3 }, {}],
    ['with a post-quantum key share, in pieces', { pieceBytes: 900 }, { ecdhCurve: 'X25519MLKEM768' }],
    [
      'with post-quantum and much ALPN, byte by byte',
      { pieceBytes: 1 },
      { ecdhCurve: 'X25519MLKEM768', ALPNProtocols: [...manyProtocols, 'http/1.1'] },
    ],
    ['of TLS 1.2', { pieceBytes: 10 }, { maxVersion: 'TLSv1.2' as const }],
  ])('a handshake completes with the hello %s', async (_how, first, tls) => {
    await using harness = await startGate()
    const socket = await openTls(harness.port, { ...tls, ...(first && { first }) })
    expect(await readGreeting(socket)).toMatchObject({
      channel: 'main',
      serverName: 'vpn.example.com',
      remoteAddress: '127.0.0.1',
    })
    socket.write('echo')
    expect((await readNext(socket, 4)).toString()).toBe('echo')
    await harness.waitFor('gate_handshakes', 0)
    expect(harness.counters.snapshot()['gate_connections']).toBe(1)
    socket.destroy()
  })
})

it('the gate chooses the host by its name in any case, and the decoy for a name that nobody knows', async () => {
  await using harness = await startGate()
  for (const [servername, channel, subject] of [
    ['PING.example.COM', 'ping', 'ping.example.com'],
    ['one.alias.example', 'main', 'vpn.example.com'],
    ['unknown.example', 'decoy', 'vpn.example.com'],
    ['', 'decoy', 'vpn.example.com'],
  ] as const) {
    const socket = await openTls(harness.port, { servername })
    expect(socket.getPeerCertificate().subject.CN).toBe(subject)
    expect(await readGreeting(socket)).toMatchObject({ channel })
    socket.destroy()
  }
})

it('the gate drops unknown names without a byte when told to', async () => {
  await using harness = await startGate({ gate: { unknownSni: 'drop' } })
  await expect(openTls(harness.port, { servername: 'unknown.example' })).rejects.toThrow()
  await harness.waitFor('gate_dropped{unknown_name}', 1)
  const socket = await openTls(harness.port)
  expect(await readGreeting(socket)).toMatchObject({ channel: 'main' })
  socket.destroy()
})

describe('rules on the random', () => {
  const prefix = largest.clientRandomHex.slice(0, 8)

  it.each([1, 7, 700])(
    'rules on the random hold for a hello in records and pieces of %i bytes (GHSA-fqh7)',
    async (size) => {
      await using harness = await startGate({
        rules: inboundRules({ clientRandomPrefix: prefix, action: 'deny' }),
      })
      const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
      const seen = readToClose(client)
      await writeInPieces(client, inRecords(largest.bytes, size), size)
      expect((await seen).length).toBe(0)
      expect(harness.counters.snapshot()).toMatchObject({ 'gate_denied{0}': 1, 'gate_dropped{denied}': 1 })
    },
  )

  it('rules on the random let everybody else in', async () => {
    await using harness = await startGate({
      rules: inboundRules({ clientRandomPrefix: `${prefix}ff`, action: 'deny' }),
    })
    const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
    client.write(largest.bytes)
    // A ServerHello.
    expect((await readNext(client, 1))[0]).toBe(22)
    client.destroy()
  })

  it('rules on the random deny everybody whose random cannot be had, and may show them the decoy', async () => {
    await using harness = await startGate({
      gate: { denied: 'decoy' },
      rules: inboundRules(
        { cidr: '0.0.0.0/0', action: 'allow' },
        { clientRandomPrefix: prefix, action: 'allow' },
      ),
    })
    const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
    client.write(Buffer.from('160301000401000000', 'hex'))
    // The TLS stack's own alert, as from any web server.
    expect((await readToClose(client))[0]).toBe(21)
    expect(harness.counters.snapshot()).toMatchObject({
      'gate_denied{no_random}': 1,
      'gate_strangers{denied}': 1,
      'gate_accepted{decoy}': 1,
    })
  })

  it('rules on the random deny QUIC, which does not show it, and count that like any other denial', async () => {
    await using harness = await startGate({
      rules: inboundRules({ clientRandomPrefix: prefix, action: 'deny' }),
    })
    expect(harness.gate.admitQuic('192.0.2.1')).toBeUndefined()
    expect(harness.counters.snapshot()).toMatchObject({
      'gate_denied{no_random}': 1,
      'gate_dropped{denied}': 1,
    })
  })

  it('rules on the random follow an update', async () => {
    await using harness = await startGate()
    harness.update({
      rules: new InboundRules({
        defaultAction: 'allow',
        rules: inboundRules({ cidr: '127.0.0.0/8', action: 'deny' }),
      }),
    })
    await expect(openTls(harness.port)).rejects.toThrow()
    await harness.waitFor('gate_dropped{denied}', 1)
  })
})

describe('what is not TLS', () => {
  it.each([
    ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\nhost: vpn.example.com\r\n\r\n')],
    ['a PROXY header from a stranger', Buffer.from('PROXY TCP4 10.0.0.1 10.0.0.2 1 443\r\n')],
    ['a PROXY header of version 2', Buffer.from('0d0a0d0a000d0a515549540a21110000', 'hex')],
    ['noise', Buffer.from([0x80, 0x2e, 0x01])],
  ])('what is not TLS gets no answer of the gate: %s', async (_what, bytes) => {
    await using harness = await startGate()
    const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
    client.write(bytes)
    expect((await readToClose(client)).length).toBe(0)
    await harness.waitFor('gate_strangers{not_tls}', 1)
  })

  it('what is not TLS goes whole to whoever wants it', async () => {
    await using harness = await startGate({
      onNotTls: ({ socket, remoteAddress }) => {
        socket.once('data', (bytes: Buffer) => socket.end(`${remoteAddress} sent ${bytes.toString()}`))
      },
    })
    const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
    client.write('GET / HTTP/1.1')
    expect((await readToClose(client)).toString()).toBe('127.0.0.1 sent GET / HTTP/1.1')
  })
})

describe('peers that do not finish', () => {
  it.each([
    ['nothing', Buffer.alloc(0)],
    ['one byte', largest.bytes.subarray(0, 1)],
    ['half a hello', largest.bytes.subarray(0, 400)],
    ['all but a byte', largest.bytes.subarray(0, -1)],
  ])('peers that do not finish are let go after the limit, having sent %s', async (_what, bytes) => {
    const clock = new FakeClock()
    await using harness = await startGate({ clock })
    const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
    client.write(bytes)
    await harness.waitFor('gate_connections', 1)
    clock.advance(HELLO_TIMEOUT_MS - 1)
    expect(harness.counters.snapshot()['gate_connections']).toBe(1)
    clock.advance(1)
    expect((await readToClose(client)).length).toBe(0)
    await harness.waitFor('gate_connections', 0)
    expect(harness.counters.snapshot()['gate_dropped{hello_timeout}']).toBe(1)
    expect(clock.pending).toBe(0)
  })

  it('peers that do not finish are let go when they leave or reset', async () => {
    const clock = new FakeClock()
    await using harness = await startGate({ clock })
    for (const leave of ['end', 'resetAndDestroy', 'destroy'] as const) {
      const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
      client.write(largest.bytes.subarray(0, 100))
      await harness.waitFor('gate_connections', 1)
      client[leave]()
      await harness.waitFor('gate_connections', 0)
      client.destroy()
    }
    expect(clock.pending).toBe(0)
    expect(harness.accepted).toEqual([])
    expect(harness.counters.snapshot()['gate_dropped{ended_early}']).toBe(3)
  })

  it('peers that do not finish are not read again while they wait, and each byte is looked at once', async () => {
    await using harness = await startGate({ limits: { connectionBurst: 200, handshakesPerAddress: 200 } })
    const push = vi.spyOn(ClientHelloParser.prototype, 'push')
    const read = vi.spyOn(Socket.prototype, 'read')
    onTestFinished(() => void vi.restoreAllMocks())
    const parsed = (): number => push.mock.calls.reduce((sum, [bytes]) => sum + bytes.length, 0)
    const clients = await Promise.all(
      Array.from({ length: 100 }, () => openTcp({ port: harness.port, host: '127.0.0.1' })),
    )
    const waiting = new Set(clients.map(({ localPort }) => localPort))
    for (const client of clients) client.write(largest.bytes.subarray(0, 500))
    await vi.waitFor(() => expect(parsed()).toBe(100 * 500), { timeout: 10_000 })
    // The loop goes round many times meanwhile. A reader that spins would be called in each of its turns.
    const other = await openTls(harness.port)
    await readGreeting(other)
    read.mockClear()
    push.mockClear()
    other.write('echo')
    await readNext(other, 4)
    other.destroy()
    const again = (read.mock.contexts as Socket[]).filter(
      ({ localPort, remotePort }) => localPort === harness.port && waiting.has(remotePort),
    )
    expect([again.length, parsed()]).toEqual([0, 0])
    for (const client of clients) client.destroy()
    // More than is ever looked at, in one-byte records, one byte at a time: after that, TLS may deal with it.
    const slow = await openTcp({ port: harness.port, host: '127.0.0.1' })
    const endless = inRecords(Buffer.from(`1603010000${'01003ff0'.padEnd(6000, '0')}`, 'hex'), 1)
    await writeInPieces(slow, endless, 1)
    await harness.waitFor('gate_accepted{decoy}', 1)
    expect(parsed()).toBeLessThanOrEqual(endless.length)
    slow.destroy()
  })
})

it('the gate ends what it holds at close, and leaves what it gave away', async () => {
  await using harness = await startGate()
  const waiting = await openTcp({ port: harness.port, host: '127.0.0.1' })
  const served = await openTls(harness.port)
  await readGreeting(served)
  await harness.waitFor('gate_connections', 2)
  await harness.gate.close({ graceMs: 0 })
  await harness.gate.close({ graceMs: 0 })
  await readToClose(waiting)
  served.write('still')
  expect((await readNext(served, 5)).toString()).toBe('still')
  const late = await openTcp({ port: harness.port, host: '127.0.0.1' })
  await readToClose(late)
  expect(harness.counters.snapshot()['gate_dropped{closing}']).toBe(2)
  served.destroy()
  await once(served, 'close')
})

expectNothingLeftOpen()
