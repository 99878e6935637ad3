/** The PROXY protocol of named balancers, both versions. What a stranger's header does is in `gate-hello.test.ts`. */
import { describe, expect, it } from 'vitest'
import { FakeClock } from '../support/fake-clock.ts'
import { HELLO_TIMEOUT_MS, startGate } from '../support/gate-harness.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { inboundRules, ipPrefix } from '../support/rules.ts'
import { openTcp, openTls, readGreeting, readToClose } from '../support/tls-client.ts'

const trusted = { proxyProtocolFrom: ['10.0.0.0/8', '127.0.0.0/8'].map(ipPrefix) }
const v1 = (address: string, port = 40_000): Buffer =>
  Buffer.from(`PROXY TCP${address.includes(':') ? 6 : 4} ${address} ${address} ${port} 443\r\n`)
const v2 = Buffer.from('0d0a0d0a000d0a515549540a2111000ccb007107c00002019c4001bb', 'hex')
const v2Local = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex')
const v2WithTlv = Buffer.from('0d0a0d0a000d0a515549540a21110010cb007107c00002019c4001bb04000161', 'hex')

describe('the real client is known', () => {
  it.each([
    ['v1 over IPv4', v1('203.0.113.7'), undefined, '203.0.113.7'],
    ['v1 over IPv6', v1('2001:db8::7'), undefined, '2001:db8::7'],
    ['v1, IPv4-mapped', v1('::ffff:203.0.113.7'), undefined, '203.0.113.7'],
    ['v1 byte by byte', v1('203.0.113.7'), 1, '203.0.113.7'],
    ['v2', v2, undefined, '203.0.113.7'],
    ['v2 byte by byte', v2, 1, '203.0.113.7'],
    ['v2 with a TLV, in pieces', v2WithTlv, 9, '203.0.113.7'],
  ])('the real client is known from %s', async (_how, prefix, pieceBytes, address) => {
    await using harness = await startGate({ gate: trusted })
    const socket = await openTls(harness.port, { first: { prefix, ...(pieceBytes && { pieceBytes }) } })
    expect(await readGreeting(socket)).toMatchObject({
      channel: 'main',
      remoteAddress: address,
      remotePort: 40_000,
    })
    socket.destroy()
  })

  it('the real client is the balancer on a connection of its own', async () => {
    await using harness = await startGate({ gate: trusted })
    for (const prefix of [v2Local, Buffer.from('PROXY UNKNOWN\r\n')]) {
      const socket = await openTls(harness.port, { first: { prefix } })
      expect(await readGreeting(socket)).toMatchObject({ remoteAddress: '127.0.0.1' })
      socket.destroy()
    }
  })
})

it('limits and rules apply to the real client behind a balancer', async () => {
  await using harness = await startGate({
    gate: trusted,
    limits: { connectionsPerAddress: 1 },
    rules: inboundRules({ cidr: '203.0.113.66/32', action: 'deny' }),
  })
  const first = await openTls(harness.port, { first: { prefix: v1('203.0.113.1') } })
  const second = await openTls(harness.port, { first: { prefix: v1('203.0.113.2') } })
  await expect(openTls(harness.port, { first: { prefix: v1('203.0.113.1') } })).rejects.toThrow()
  await harness.waitFor('gate_dropped{connections_per_address}', 1)
  await expect(openTls(harness.port, { first: { prefix: v1('203.0.113.66') } })).rejects.toThrow()
  await harness.waitFor('gate_dropped{denied}', 1)
  for (const socket of [first, second]) socket.destroy()
})

describe('a balancer without a proper header is closed', () => {
  it('a balancer without a proper header is closed when TLS begins at once', async () => {
    await using harness = await startGate({ gate: trusted })
    await expect(openTls(harness.port)).rejects.toThrow()
    await harness.waitFor('gate_dropped{proxy_header}', 1)
  })

  it('a balancer without a proper header is closed when the header is broken', async () => {
    await using harness = await startGate({ gate: trusted })
    const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
    client.write('PROXY TCP4 nonsense\r\n')
    expect((await readToClose(client)).length).toBe(0)
    await harness.waitFor('gate_dropped{proxy_header}', 1)
  })

  it('a balancer without a proper header is closed when it stays away', async () => {
    const clock = new FakeClock()
    await using harness = await startGate({ gate: trusted, clock })
    const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
    client.write('PROXY TCP4 ')
    await harness.waitFor('gate_connections', 1)
    clock.advance(HELLO_TIMEOUT_MS)
    await readToClose(client)
    expect(harness.counters.snapshot()['gate_dropped{hello_timeout}']).toBe(1)
    expect(clock.pending).toBe(0)
  })
})

expectNothingLeftOpen()
