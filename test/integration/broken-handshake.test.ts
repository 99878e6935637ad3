/**
 * A client that leaves in the middle of the TLS handshake: its connection used to stay until the handshake's time
 * limit, because TCP is half-open there and nobody watched for its end. The clock stands still in these tests.
 */
import { once } from 'node:events'
import { expect, it } from 'vitest'
import { FakeClock } from '../support/fake-clock.ts'
import { startGate } from '../support/gate-harness.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openTcp, readNext } from '../support/tls-client.ts'
import vectors from '../vectors/client-hello.json' with { type: 'json' }

const hello = Buffer.from(vectors[0]?.recordHex ?? '', 'hex')

it('a handshake whose client ends TCP after its hello is given up at once', async () => {
  const clock = new FakeClock()
  await using harness = await startGate({ clock })
  const client = await openTcp({ port: harness.port })
  client.write(hello)
  // The server's half of the handshake has started.
  await readNext(client, 1)
  client.resume()
  client.end()
  await once(client, 'close')
  await harness.waitFor('gate_connections', 0)
  expect(harness.counters.snapshot()).toMatchObject({ 'tls_handshakes_failed{ended}': 1, gate_handshakes: 0 })
  expect(clock.pending).toBe(0)
})

it('a handshake whose client is gone before the last message is given up at once', async () => {
  const clock = new FakeClock()
  await using harness = await startGate({ clock })
  const client = await openTcp({ port: harness.port })
  client.write(hello)
  await readNext(client, 1)
  client.resetAndDestroy()
  await harness.waitFor('gate_connections', 0)
  expect(harness.counters.snapshot()['gate_handshakes']).toBe(0)
  expect(clock.pending).toBe(0)
})

expectNothingLeftOpen()
