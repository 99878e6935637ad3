/**
 * Many connections from one address: a burst from behind a NAT gets in, a flood does not, and the newest is refused.
 */
import { expect, it } from 'vitest'
import { FakeClock } from '../support/fake-clock.ts'
import { startGate } from '../support/gate-harness.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openTcp, openTls, readGreeting, readToClose } from '../support/tls-client.ts'

it('the gate lets ten users with eight connections each come back at once', async () => {
  await using harness = await startGate()
  const sockets = await Promise.all(Array.from({ length: 80 }, () => openTls(harness.port)))
  const greetings = await Promise.all(sockets.map(readGreeting))
  expect(greetings.every(({ channel }) => channel === 'main')).toBe(true)
  expect(harness.counters.snapshot()).toMatchObject({ 'gate_accepted{main}': 80, gate_connections: 80 })
  await harness.waitFor('gate_handshakes', 0)
  for (const socket of sockets) socket.destroy()
  await harness.waitFor('gate_connections', 0)
})

it('the gate refuses the newest handshake of an address, and takes it again when one is done', async () => {
  const clock = new FakeClock()
  await using harness = await startGate({ clock, limits: { handshakesPerAddress: 3 } })
  const open = (): ReturnType<typeof openTcp> => openTcp({ port: harness.port, host: '127.0.0.1' })
  const waiting = [await open(), await open(), await open()]
  await harness.waitFor('gate_handshakes', 3)
  const fourth = await open()
  expect((await readToClose(fourth)).length).toBe(0)
  expect(harness.counters.snapshot()['gate_dropped{handshakes_per_address}']).toBe(1)
  waiting[0]?.destroy()
  await harness.waitFor('gate_handshakes', 2)
  const served = await openTls(harness.port)
  await readGreeting(served)
  await harness.waitFor('gate_handshakes', 2)
  for (const socket of [...waiting, served]) socket.destroy()
})

it('the gate refuses the newest connection, in all and of an address', async () => {
  for (const [limit, reason] of [
    ['connectionsPerAddress', 'connections_per_address'],
    ['connectionsTotal', 'connections_total'],
  ] as const) {
    await using harness = await startGate({ limits: { [limit]: 2 } })
    const served = [await openTls(harness.port), await openTls(harness.port)]
    await Promise.all(served.map(readGreeting))
    await expect(openTls(harness.port)).rejects.toThrow()
    await harness.waitFor(`gate_dropped{${reason}}`, 1)
    served[0]?.destroy()
    await harness.waitFor('gate_connections', 1)
    const next = await openTls(harness.port)
    expect(await readGreeting(next)).toMatchObject({ channel: 'main' })
    for (const socket of [...served, next]) socket.destroy()
  }
})

it('the gate holds a flood to the rate', async () => {
  const clock = new FakeClock()
  await using harness = await startGate({ clock, limits: { connectionBurst: 5, connectionRate: 2 } })
  const knock = async (): Promise<void> => {
    const client = await openTcp({ port: harness.port, host: '127.0.0.1' })
    client.write('x')
    await readToClose(client)
  }
  for (let count = 0; count < 8; count += 1) await knock()
  expect(harness.counters.snapshot()).toMatchObject({
    'gate_strangers{not_tls}': 5,
    'gate_dropped{connection_rate}': 3,
  })
  clock.advance(1000)
  for (let count = 0; count < 3; count += 1) await knock()
  expect(harness.counters.snapshot()).toMatchObject({
    'gate_strangers{not_tls}': 7,
    'gate_dropped{connection_rate}': 4,
  })
  // One line a minute, however many were closed: the next one says so.
  const told = (): unknown[] => harness.logs.map(({ reason, connections }) => [reason, connections])
  expect(told()).toEqual([['connection_rate', 1]])
  clock.advance(60_000)
  for (let count = 0; count < 6; count += 1) await knock()
  expect(told()).toEqual([
    ['connection_rate', 1],
    ['connection_rate', 4],
  ])
})

expectNothingLeftOpen()
