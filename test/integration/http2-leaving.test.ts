/**
 * Clients of HTTP/2 that leave in the middle, and sessions that end while they still say something. A stranger could
 * reset a request before its answer had begun, and the answer was written all the same: a file was read to its end for
 * nobody. A session that had ended its side answered a PING on it, which is an error of its socket: the connection was
 * cut instead of ending in order.
 */
import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { Exchange } from '../../src/contract/exchange.ts'
import type { Session } from '../../src/contract/session.ts'
import { END_HEADERS, END_STREAM, frame, headerBlock, uint32 } from '../support/http2-frames.ts'
import { GET } from '../support/http2-probe.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { RawHttp2 } from '../support/raw-http2.ts'
import { startTlsTransport } from '../support/tls-transport.ts'
import type { TlsTransport } from '../support/tls-transport.ts'

const REQUEST = frame('HEADERS', { flags: END_HEADERS | END_STREAM, stream: 1, payload: GET })
const TRAILERS = headerBlock([['x-checksum', '1']])
const PING = frame('PING', { payload: '12345678' })

function reset(code: number): Buffer {
  return frame('RST_STREAM', { stream: 1, payload: uint32(code) })
}

interface Stage extends AsyncDisposable {
  readonly client: RawHttp2
  readonly session: Session
  /** The reason with which the session closes. */
  readonly closed: Promise<Error | undefined>
  request(): Promise<Exchange>
}

async function openStage(): Promise<Stage> {
  const requests: Exchange[] = []
  let onRequest: (() => void) | undefined
  let session: Session | undefined
  const closed = Promise.withResolvers<Error | undefined>()
  const transport: TlsTransport = await startTlsTransport('h2', (opened) => {
    session = opened
    return {
      onExchange: (exchange) => {
        requests.push(exchange)
        onRequest?.()
      },
      onClose: closed.resolve,
    }
  })
  const client = await RawHttp2.open(transport.port)
  if (session === undefined) throw new Error('no session')
  return {
    client,
    session,
    closed: closed.promise,
    request: async () => {
      if (requests.length === 0) await new Promise<void>((resolve) => (onRequest = resolve))
      return requests.shift() as Exchange
    },
    [Symbol.asyncDispose]: async () => {
      await client[Symbol.asyncDispose]()
      await transport[Symbol.asyncDispose]()
    },
  }
}

/** `signal.aborted` may be true already. */
async function abortOf({ signal }: Exchange): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort')
}

describe('an HTTP/2 exchange', () => {
  it('takes nothing of an answer whose client has left before', async () => {
    await using stage = await openStage()
    stage.session.trust()
    stage.client.send(REQUEST, reset(8))
    const exchange = await stage.request()
    await abortOf(exchange)
    const answer: Writable = exchange.respond(200, {})
    expect(answer.destroyed).toBe(true)
  })

  it.each([0, 8])('ends an answer whose client leaves with code %i', async (code) => {
    await using stage = await openStage()
    stage.client.send(REQUEST)
    const exchange = await stage.request()
    const aborted = abortOf(exchange)
    const answer = exchange.respond(200, {})
    answer.write('begin')
    await stage.client.frame(({ name }) => name === 'DATA')
    const closed = once(answer, 'close')
    stage.client.send(reset(code))
    await Promise.all([closed, aborted])
  })

  it('ends with an answer that is written to after its end', async () => {
    await using stage = await openStage()
    stage.client.send(REQUEST)
    const exchange = await stage.request()
    const answer = exchange.respond(200, {})
    answer.end('all')
    const closed = new Promise<void>((resolve) => answer.once('close', resolve))
    answer.write('more')
    await closed
    expect(stage.session.state).toBe('open')
  })

  it('resets the stream of a refusal whose fields cannot be sent', async () => {
    await using stage = await openStage()
    stage.client.send(REQUEST)
    const exchange = await stage.request()
    exchange.refuse(407, { 'proxy-authenticate': 'Basic realm="\u{1f6a7}"' })
    const { payload } = await stage.client.frame(({ name }) => name === 'RST_STREAM')
    expect(payload.readUInt32BE(0)).toBe(2)
  })
})

describe('an HTTP/2 request', () => {
  it('is not made of trailers whose stream has ended while they came', async () => {
    await using stage = await openStage()
    const { client } = stage
    stage.session.trust()
    // In one write, so that the request is worked on when its trailers have begun.
    client.send(
      frame('HEADERS', { flags: END_HEADERS, stream: 1, payload: GET }),
      frame('HEADERS', { flags: END_STREAM, stream: 1, payload: TRAILERS }),
    )
    const first = await stage.request()
    first.reset('cancel')
    client.send(
      frame('CONTINUATION', { flags: END_HEADERS, stream: 1 }),
      frame('HEADERS', { flags: END_HEADERS | END_STREAM, stream: 3, payload: GET }),
    )
    const next = await stage.request()
    expect(next.authority).toBe('localhost')
    expect(stage.session.openStreams).toBe(1)
  })

  it('may follow trailers of a stream that we have reset', async () => {
    await using stage = await openStage()
    const { client } = stage
    stage.session.trust()
    client.send(frame('HEADERS', { flags: END_HEADERS, stream: 1, payload: GET }))
    const first = await stage.request()
    first.reset('cancel')
    client.send(
      frame('HEADERS', { flags: END_HEADERS | END_STREAM, stream: 1, payload: TRAILERS }),
      frame('HEADERS', { flags: END_HEADERS | END_STREAM, stream: 3, payload: GET }),
    )
    const next = await stage.request()
    expect(next.authority).toBe('localhost')
    expect(stage.session.openStreams).toBe(1)
  })

  it('can be answered after an answer whose fields could not be sent', async () => {
    await using stage = await openStage()
    stage.client.send(REQUEST)
    const exchange = await stage.request()
    expect(() => exchange.respond(200, { 'x-sign': '\u{1f6a7}' })).toThrow(TypeError)
    exchange.respond(502, {}).end('sorry')
    await stage.client.frame(({ name }) => name === 'DATA')
    const names = stage.client.frames.map(({ name, stream }) => `${name} ${stream}`)
    expect(names.filter((name) => name.endsWith(' 1'))).toEqual(['HEADERS 1', 'DATA 1'])
  })
})

describe('an HTTP/2 session that has said goodbye', () => {
  it('ends in order although its client still asks for something', async () => {
    await using stage = await openStage()
    const { client, session } = stage
    client.socket.allowHalfOpen = true
    client.socket.removeAllListeners('end')
    void session.close({ graceMs: 10_000 })
    await once(client.socket, 'end')
    client.send(PING, PING)
    client.socket.end()
    expect(await stage.closed).toBeUndefined()
    expect(client.frames.filter(({ name }) => name === 'GOAWAY')).toHaveLength(1)
  })

  it('said so once, where nobody has authenticated', async () => {
    await using stage = await openStage()
    stage.client.send(REQUEST)
    const exchange = await stage.request()
    void stage.session.close({ graceMs: 10_000 })
    const { payload } = await stage.client.frame(({ name }) => name === 'GOAWAY')
    expect(payload.readUInt32BE(0)).toBe(1)
    exchange.respond(200, {}, { endStream: true })
    await stage.client.closed()
    expect(await stage.closed).toBeUndefined()
    expect(stage.client.frames.filter(({ name }) => name === 'GOAWAY')).toHaveLength(1)
  })
})

expectNothingLeftOpen()
