/**
 * A client that never completes the head of an HTTP/1.1 request: it loses its connection after the head's timeout,
 * whether it is silent or sends a field now and then. Such connections used to keep their place for as long as a session
 * may be idle.
 */
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { FakeClock } from '../support/fake-clock.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { startTlsTransport } from '../support/tls-transport.ts'
import type { Exchange } from '../../src/contract/exchange.ts'

const HEAD_TIMEOUT_MS = 60_000
const IDLE_TIMEOUT_MS = 75_000

async function open(port: number): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  return socket
}

/** Also resolves when the connection breaks during a write. */
function closeOf(socket: TLSSocket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

/** Resolves when the server has had time to read it. */
async function write(socket: TLSSocket, text: string): Promise<void> {
  await new Promise((resolve) => socket.write(text, resolve))
  await setImmediate()
}

/** A transport whose sessions and requests can be waited for. */
async function startTransport(clock: FakeClock) {
  const requests: Exchange[] = []
  let onSession = (): void => {}
  let onExchange = (): void => {}
  const transport = await startTlsTransport(
    'http/1.1',
    () => {
      onSession()
      return {
        onExchange: (exchange) => {
          requests.push(exchange)
          onExchange()
        },
        onClose: () => {},
      }
    },
    clock,
  )
  return {
    port: transport.port,
    requests,
    nextSession: () => new Promise<void>((resolve) => (onSession = resolve)),
    nextRequest: () => new Promise<void>((resolve) => (onExchange = resolve)),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  }
}

test('a head that never ends costs the connection, however it is fed', async () => {
  const clock = new FakeClock()
  await using transport = await startTransport(clock)
  const session = transport.nextSession()
  const socket = await open(transport.port)
  await session
  await write(socket, 'GET / HTTP/1.1\r\nHost: vpn.endpoint\r\n')
  clock.advance(HEAD_TIMEOUT_MS / 2)
  await write(socket, 'X-More: 1\r\n')
  const closed = closeOf(socket)
  clock.advance(HEAD_TIMEOUT_MS / 2)
  await closed
  expect(transport.requests).toHaveLength(0)
  expect(clock.pending).toBe(0)
})

test('a kept connection has its time for the next request to begin, and none runs during a request', async () => {
  const clock = new FakeClock()
  await using transport = await startTransport(clock)
  const session = transport.nextSession()
  const socket = await open(transport.port)
  await session
  clock.advance(HEAD_TIMEOUT_MS - 1)
  const request = transport.nextRequest()
  socket.write('GET / HTTP/1.1\r\nHost: vpn.endpoint\r\n\r\n')
  await request
  // The answer may take longer than a head.
  clock.advance(2 * HEAD_TIMEOUT_MS)
  const answer = once(socket, 'data')
  transport.requests[0]?.respond(204, {}, { endStream: true })
  await answer
  expect(socket.destroyed).toBe(false)
  const closed = closeOf(socket)
  socket.resume()
  await expect.poll(() => clock.pending).toBe(1)
  clock.advance(IDLE_TIMEOUT_MS)
  await closed
})

test('the next head of a kept connection has its time from its first byte', async () => {
  const clock = new FakeClock()
  await using transport = await startTransport(clock)
  const session = transport.nextSession()
  const socket = await open(transport.port)
  await session
  const request = transport.nextRequest()
  socket.write('GET / HTTP/1.1\r\nHost: vpn.endpoint\r\n\r\n')
  await request
  const answer = once(socket, 'data')
  transport.requests[0]?.respond(204, {}, { endStream: true })
  await answer
  await expect.poll(() => clock.pending).toBe(1)
  clock.advance(IDLE_TIMEOUT_MS - 1)
  await write(socket, 'GET / HTTP/1.1\r\n')
  for (let turn = 0; turn < 50; turn++) await setImmediate()
  clock.advance(HEAD_TIMEOUT_MS - 1)
  for (let turn = 0; turn < 50; turn++) await setImmediate()
  expect(socket.readableEnded).toBe(false)
  const closed = closeOf(socket)
  socket.resume()
  clock.advance(1)
  await closed
})

expectNothingLeftOpen()
