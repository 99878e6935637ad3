/**
 * A client that half-closed its HTTP/1.1 tunnel and then vanished kept tunnel and target for the whole idle limit of
 * two hours: after EOF nothing watches the socket, and keep-alive goes unnoticed. The shorter limit introduced for that
 * applied to HTTP/2 and HTTP/3 as well, where it cut off clients that had asked a question and were waiting for a slow
 * answer.
 */
import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import type { Duplex } from 'node:stream'
import { expect, it } from 'vitest'
import { IdleMonitor } from '../../../src/relay/idle-monitor.ts'
import { relayStreams } from '../../../src/relay/stream-relay.ts'
import type { RelayOutcome } from '../../../src/relay/relay-rules.ts'
import type { StreamEnd } from '../../../src/contract/stream-end.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const MINUTE_MS = 60_000
const end = (io: Duplex, showsLoss = false): StreamEnd => ({ io, showsLoss, reset: () => io.destroy() })

function startRelay({ showsLoss = false } = {}) {
  const clock = new FakeClock()
  const [client, near] = duplexPair()
  const [target, far] = duplexPair()
  const options = {
    idleTimeoutMs: 120 * MINUTE_MS,
    idleMonitor: new IdleMonitor(clock),
    signal: new AbortController().signal,
  }
  let outcome: RelayOutcome | undefined
  const ended = relayStreams(end(near, showsLoss), end(far), options).then((result) => (outcome = result))
  return { clock, client, target, ended, outcome: () => outcome }
}

it('a relay ends five minutes after the last byte once the client has ended', async () => {
  const { clock, client, target, ended, outcome } = startRelay()
  client.end('request')
  target.resume()
  await once(target, 'end')
  clock.advance(4 * MINUTE_MS)
  await Promise.resolve()
  expect(outcome()).toBeUndefined()
  clock.advance(2 * MINUTE_MS)
  expect((await ended).reason).toBe('idle')
  expect(clock.pending).toBe(0)
})

it('a half-closed relay has the whole limit where the loss of the client would show', async () => {
  const { clock, client, target, ended, outcome } = startRelay({ showsLoss: true })
  client.end('request')
  target.resume()
  await once(target, 'end')
  clock.advance(110 * MINUTE_MS)
  await Promise.resolve()
  expect(outcome()).toBeUndefined()
  target.write('a slow answer')
  expect(String((await once(client, 'data'))[0])).toBe('a slow answer')
  clock.advance(140 * MINUTE_MS)
  expect((await ended).reason).toBe('idle')
})

it('a relay waits the whole limit while both sides are open', async () => {
  const { clock, client, outcome, ended } = startRelay()
  clock.advance(110 * MINUTE_MS)
  await Promise.resolve()
  expect(outcome()).toBeUndefined()
  client.destroy()
  clock.advance(30 * MINUTE_MS)
  await ended
})
