/** Clients over HTTP/2 that give a stream no window: visitors for 60 s, as with nginx, users for as long as they like. */
import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { Session } from '../../src/contract/session.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { END_HEADERS, END_STREAM, frame, headerBlock } from '../support/http2-frames.ts'
import { initialWindow } from '../support/http2-upload.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { RawHttp2 } from '../support/raw-http2.ts'
import { startTlsTransport } from '../support/tls-transport.ts'

const STALL_MS = 60_000
/** How often it is looked at. */
const LOOK_MS = 1000
const WINDOW_BYTES = 10
const PROTOCOL_ERROR = 1

const REQUEST = frame('HEADERS', {
  stream: 1,
  flags: END_HEADERS | END_STREAM,
  payload: headerBlock([
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/'],
    [':authority', 'vpn.endpoint'],
  ]),
})

/** Asks for a page with hardly any window, and waits for what the window lets through. */
async function stall(clock: FakeClock, onSession: (session: Session) => void) {
  const transport = await startTlsTransport(
    'h2',
    (session) => {
      onSession(session)
      return {
        onExchange: (exchange) => {
          if (exchange.kind !== 'plain') return
          const answer = exchange.respond(200, {})
          answer.on('error', () => {})
          answer.end(Buffer.alloc(100 * WINDOW_BYTES))
        },
        onClose: () => {},
      }
    },
    clock,
  )
  const client = await RawHttp2.open(transport.port)
  client.send(initialWindow(WINDOW_BYTES), REQUEST)
  await client.frame(({ name, stream }) => name === 'DATA' && stream === 1)
  await expectAnswered(client, 'all sent')
  return {
    client,
    [Symbol.asyncDispose]: async () => {
      await client[Symbol.asyncDispose]()
      await transport[Symbol.asyncDispose]()
    },
  }
}

/** An answer that would come after everything that was sent before. */
async function expectAnswered(client: RawHttp2, content: string): Promise<void> {
  client.send(frame('PING', { payload: content }))
  await client.frame(({ name, payload }) => name === 'PING' && payload.toString() === content)
}

it("a visitor's stream that gets no window is reset after 60 s, and its connection goes on", async () => {
  const clock = new FakeClock()
  await using stage = await stall(clock, () => {})
  const { client } = stage
  clock.advance(STALL_MS)
  await expectAnswered(client, 'still up')
  expect(client.frames.some(({ name }) => name === 'RST_STREAM')).toBe(false)
  clock.advance(2 * LOOK_MS)
  const reset = await client.frame(({ name }) => name === 'RST_STREAM')
  expect([reset.stream, reset.payload.readUInt32BE(0)]).toEqual([1, PROTOCOL_ERROR])
  await expectAnswered(client, 'and then')
})

it('a window of one byte now and then keeps a stream', async () => {
  const clock = new FakeClock()
  await using stage = await stall(clock, () => {})
  const { client } = stage
  for (let times = 1; times <= 4; times++) {
    clock.advance(STALL_MS - LOOK_MS)
    client.send(frame('WINDOW_UPDATE', { stream: 1, payload: Buffer.of(0, 0, 0, 1) }))
    await client.several(1 + times, ({ name }) => name === 'DATA')
  }
  expect(client.frames.some(({ name }) => name === 'RST_STREAM')).toBe(false)
})

it("a user's stream may wait for its client for hours", async () => {
  const clock = new FakeClock()
  await using stage = await stall(clock, (session) => session.trust())
  for (let minutes = 0; minutes < 120; minutes++) {
    clock.advance(60_000)
    // The socket tells what it has written.
    await turn()
  }
  await expectAnswered(stage.client, 'still up')
  expect(stage.client.frames.some(({ name }) => name === 'RST_STREAM')).toBe(false)
})

expectNothingLeftOpen()
