/** What every transport does alike (src/contract/session.ts). Run for HTTP/1.1, HTTP/2 and HTTP/3. */
import { once } from 'node:events'
import type { Readable, Duplex } from 'node:stream'
import { afterEach, describe, expect, test } from 'vitest'
import type { Exchange } from '../../src/contract/exchange.ts'
import type { ProtocolLabel, Session } from '../../src/contract/session.ts'
import type { AcceptSession } from '../../src/contract/session-listener.ts'
import type { StreamEnd } from '../../src/contract/stream-end.ts'
import { connectOf, plainOf } from '../support/exchange-kind.ts'

/** One request as its client sees it. */
export interface ContractExchange {
  /** Rejects when the exchange ends without an answer. */
  readonly answer: Promise<{ status: number; headers: Record<string, string | string[] | undefined> }>
  /** Both directions; closes without `end` when the endpoint resets it. */
  readonly stream: Duplex
  /** Ends it abruptly. */
  reset(): void
}

/** One connection; for HTTP/1.1 every exchange may have one of its own. */
export interface ContractClient {
  connect(authority: string, headers?: Record<string, string>): ContractExchange
  /** `end` of the stream ends the content. */
  request(method: string, path: string, headers?: Record<string, string>): ContractExchange
  /** A whole GET of `scheme://authority/path`, as a client of a forward proxy sends it. */
  get(scheme: string, authority: string, path: string): ContractExchange
  /**
   * Resolves when the client has heard that the endpoint drains; absent where it takes no request from then on anyway.
   */
  hearsOfDrain?(): Promise<unknown>
  /** Cuts the connection. */
  destroy(): Promise<void>
}

export interface TransportUnderTest extends AsyncDisposable {
  open(): Promise<ContractClient>
}

export interface TransportHarness {
  readonly protocol: ProtocolLabel
  /** Several exchanges share a session. */
  readonly multiplexed: boolean
  start(accept: AcceptSession): Promise<TransportUnderTest>
}

/** What the endpoint's side has seen. */
class Recorder {
  readonly sessions: Session[] = []
  readonly closed: (Error | undefined)[] = []
  readonly #requests: Exchange[] = []
  readonly #waiting: ((request: Exchange) => void)[] = []
  #onClose: (() => void) | undefined

  readonly accept: AcceptSession = (session) => {
    this.sessions.push(session)
    return {
      onExchange: (request) => {
        const waiting = this.#waiting.shift()
        if (waiting) waiting(request)
        else this.#requests.push(request)
      },
      onClose: (error) => {
        this.closed.push(error)
        this.#onClose?.()
      },
    }
  }

  request(): Promise<Exchange> {
    const request = this.#requests.shift()
    return request ? Promise.resolve(request) : new Promise((resolve) => this.#waiting.push(resolve))
  }

  async sessionClosed(): Promise<Error | undefined> {
    while (this.closed.length === 0) await new Promise<void>((resolve) => (this.#onClose = resolve))
    return this.closed[0]
  }
}

/** All bytes up to `end`. Unlike the consumers of Node it leaves the writable side alone. */
export function collect(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  if (stream.readableEnded) return Promise.resolve(Buffer.alloc(0))
  return new Promise((resolve, reject) => {
    stream.once('end', () => resolve(Buffer.concat(chunks)))
    stream.once('close', () => reject(new Error('closed without end')))
  })
}

/** `close`, whether or not an error comes first. */
export function closeOf(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) resolve()
    else stream.once('close', resolve)
  })
}

const MEGABYTE = 1024 * 1024

export function runTransportContract(harness: TransportHarness): void {
  describe(`${harness.protocol} transport`, () => {
    let transport: TransportUnderTest | undefined
    let recorder = new Recorder()

    async function open(): Promise<ContractClient> {
      recorder = new Recorder()
      transport = await harness.start(recorder.accept)
      return transport.open()
    }

    /** An accepted tunnel and its client. */
    async function tunnel(): Promise<{
      client: ContractClient
      exchange: ContractExchange
      io: Duplex
      accepted: StreamEnd
    }> {
      const client = await open()
      const exchange = client.connect('example.org:443')
      const request = await recorder.request()
      const accepted = connectOf(request).accept()
      expect((await exchange.answer).status).toBe(200)
      return { client, exchange, io: accepted.io, accepted }
    }

    afterEach(async () => {
      await transport?.[Symbol.asyncDispose]()
      transport = undefined
    })

    test('a transport says whether the loss of a client shows after its half-close', async () => {
      const { accepted } = await tunnel()
      expect(accepted.showsLoss ?? false).toBe(harness.protocol !== 'HTTP1')
    })

    test('a transport lets go of the fields that are not asked for, and answers all the same', async () => {
      const client = await open()
      const exchange = client.connect('example.org:443', {
        'user-agent': 'Linux',
        'x-filler': 'x'.repeat(5000),
      })
      const request = connectOf(await recorder.request())
      request.keepFields('user-agent', 'cookie')
      expect({ ...request.headers }).toEqual({ 'user-agent': 'Linux' })
      expect(request.authority).toBe('example.org:443')
      request.refuse(407)
      expect((await exchange.answer).status).toBe(407)
    })

    test('a transport tells all about the session and the request', async () => {
      const client = await open()
      client.connect('[2001:db8::1]:443', { 'user-agent': 'Linux _udp2', 'x-two': 'a, b' })
      const request = await recorder.request()
      expect(request.session).toBe(recorder.sessions[0])
      expect(request.session).toMatchObject({
        protocol: harness.protocol,
        state: 'open',
        remoteAddress: '127.0.0.1',
      })
      expect(request.session.remotePort).toBeGreaterThan(0)
      expect(request.session.openStreams).toBe(1)
      expect(request.method).toBe('CONNECT')
      expect(request.authority).toBe('[2001:db8::1]:443')
      expect(request.kind).toBe('connect')
      expect(request.headers).toMatchObject({ 'user-agent': 'Linux _udp2', 'x-two': 'a, b' })
      expect(Object.keys(request.headers).filter((name) => name.startsWith(':'))).toEqual([])
      expect(request.signal.aborted).toBe(false)
      request.refuse(502)
    })

    test('a transport refuses with an empty body and ends the stream', async () => {
      const client = await open()
      const exchange = client.connect('example.org:443')
      const request = await recorder.request()
      const { signal } = request
      request.refuse(407, { 'proxy-authenticate': 'Basic realm="x"' })
      const { status, headers } = await exchange.answer
      expect(status).toBe(407)
      expect(headers['proxy-authenticate']).toBe('Basic realm="x"')
      expect(await collect(exchange.stream)).toHaveLength(0)
      expect(signal.aborted).toBe(false)
    })

    test('a transport accepts with END_STREAM', async () => {
      const client = await open()
      const exchange = client.connect('_check')
      const request = await recorder.request()
      connectOf(request).accept({}, { endStream: true })
      expect((await exchange.answer).status).toBe(200)
      expect(await collect(exchange.stream)).toHaveLength(0)
    })

    test('a transport carries bytes both ways and closes when both sides have ended', async () => {
      const { exchange, io } = await tunnel()
      exchange.stream.end('ping')
      expect(String(await collect(io))).toBe('ping')
      io.end('pong')
      expect(String(await collect(exchange.stream))).toBe('pong')
      await closeOf(io)
    })

    test('a transport keeps the downlink open after the client has ended', async () => {
      const { exchange, io } = await tunnel()
      exchange.stream.end()
      io.resume()
      await once(io, 'end')
      io.write('late ')
      await once(exchange.stream, 'readable')
      io.end('answer')
      expect(String(await collect(exchange.stream))).toBe('late answer')
    })

    test('a transport keeps the uplink open after the endpoint has ended', async () => {
      const { exchange, io } = await tunnel()
      io.end()
      exchange.stream.resume()
      await once(exchange.stream, 'end')
      exchange.stream.end('still there')
      expect(String(await collect(io))).toBe('still there')
    })

    test('a transport tells a reset by the client as close without end, and aborts the signal', async () => {
      const client = await open()
      const exchange = client.connect('example.org:443')
      const request = await recorder.request()
      const { signal } = request
      const { io } = connectOf(request).accept()
      await exchange.answer
      let ended = false
      io.on('end', () => (ended = true))
      io.resume()
      const closed = closeOf(io)
      exchange.reset()
      await closed
      expect(ended).toBe(false)
      expect(signal.aborted).toBe(true)
    })

    test('a transport aborts the signal of a request that is not answered yet', async () => {
      const client = await open()
      const exchange = client.connect('example.org:443')
      exchange.answer.catch(() => {})
      const { signal } = await recorder.request()
      const aborted = once(signal, 'abort')
      exchange.reset()
      await aborted
    })

    test('a transport resets a tunnel', async () => {
      const { exchange, io, accepted } = await tunnel()
      let ended = false
      exchange.stream.on('end', () => (ended = true))
      exchange.stream.resume()
      const closed = closeOf(exchange.stream)
      accepted.reset('connect_error')
      accepted.reset('cancel')
      await closed
      expect(ended).toBe(false)
      expect(io.destroyed).toBe(true)
    })

    test('a transport does not throw when it answers too late', async () => {
      const client = await open()
      const exchange = client.connect('example.org:443')
      exchange.answer.catch(() => {})
      const request = await recorder.request()
      const aborted = once(request.signal, 'abort')
      exchange.reset()
      await aborted
      request.refuse(502)
      request.reset('cancel')
    })

    test('a transport ends tunnels without end when the connection is lost', async () => {
      const { client, io } = await tunnel()
      let ended = false
      io.on('end', () => (ended = true))
      io.resume()
      const closed = closeOf(io)
      await client.destroy()
      await closed
      await recorder.sessionClosed()
      expect(ended).toBe(false)
      expect(recorder.sessions[0]).toMatchObject({ state: 'closed', openStreams: 0 })
      expect(recorder.closed).toHaveLength(1)
    })

    test('a transport carries megabytes both ways at once', async () => {
      const { exchange, io } = await tunnel()
      const sent = Buffer.alloc(4 * MEGABYTE, 'culvert')
      io.pipe(io)
      exchange.stream.end(sent)
      expect((await collect(exchange.stream)).equals(sent)).toBe(true)
    })

    test('a transport stops writing while the client does not read', async () => {
      const { exchange, io } = await tunnel()
      exchange.stream.pause()
      const chunk = Buffer.alloc(64 * 1024)
      // More than any window and buffer on the way, in small steps: a write must be refused before that.
      let accepted = 0
      while (accepted < 512 * MEGABYTE && io.write(chunk)) accepted += chunk.length
      expect(accepted).toBeLessThan(512 * MEGABYTE)
      exchange.reset()
      await closeOf(io)
    })

    test('a transport answers other methods with content', async () => {
      const client = await open()
      const exchange = client.request('POST', '/form?x=1', { 'x-test': '1' })
      const request = await recorder.request()
      expect(request).toMatchObject({ method: 'POST', path: '/form?x=1' })
      expect(request.headers['x-test']).toBe('1')
      exchange.stream.end('question')
      expect(String(await collect(plainOf(request).body()))).toBe('question')
      const content = collect(exchange.stream)
      request.respond(201, { 'content-type': 'text/plain', 'set-cookie': ['a=1', 'b=2'] }).end('answer')
      const { status, headers } = await exchange.answer
      expect(status).toBe(201)
      expect(headers['content-type']).toBe('text/plain')
      expect(headers['set-cookie']).toEqual(['a=1', 'b=2'])
      expect(String(await content)).toBe('answer')
    })

    test.each([
      ['http', 'http'],
      ['https', 'https'],
      ['HTTP', 'http'],
      ['ftp', undefined],
    ] as const)('a transport tells the scheme of a target: %s', async (scheme, expected) => {
      const client = await open()
      const exchange = client.get(scheme, 'example.org:81', '/x?y=1')
      const request = await recorder.request()
      expect(request).toMatchObject({ method: 'GET', authority: 'example.org:81', path: '/x?y=1' })
      expect(plainOf(request).scheme).toBe(expected)
      request.refuse(404)
      expect((await exchange.answer).status).toBe(404)
    })

    test('a transport answers without content', async () => {
      const client = await open()
      const exchange = client.request('HEAD', '/')
      exchange.stream.end()
      const request = await recorder.request()
      request.respond(204, {}, { endStream: true })
      expect((await exchange.answer).status).toBe(204)
      expect(await collect(exchange.stream)).toHaveLength(0)
    })

    test('a transport closes an idle session at once and tells it once', async () => {
      const client = await open()
      const exchange = client.connect('example.org:443')
      const request = await recorder.request()
      request.refuse(502)
      await exchange.answer
      await collect(exchange.stream)
      const [session] = recorder.sessions
      await Promise.all([session?.close({ graceMs: 10_000 }), session?.close({ graceMs: 10_000 })])
      expect(session?.state).toBe('closed')
      expect(recorder.closed).toEqual([undefined])
    })

    test('a transport lets open tunnels finish while it closes', async () => {
      const { exchange, io } = await tunnel()
      const [session] = recorder.sessions
      const closing = session?.close({ graceMs: 20_000 })
      expect(session?.state).toBe('draining')
      exchange.stream.end('last words')
      expect(String(await collect(io))).toBe('last words')
      io.end('good bye')
      expect(String(await collect(exchange.stream))).toBe('good bye')
      await closing
      expect(session?.state).toBe('closed')
    })

    test('a transport cuts what is left when the grace has ended', async () => {
      const { io } = await tunnel()
      const closed = closeOf(io)
      await recorder.sessions[0]?.close({ graceMs: 50 })
      await closed
      expect(recorder.sessions[0]?.openStreams).toBe(0)
    })

    test('a transport destroys a session with its tunnels', async () => {
      const { io } = await tunnel()
      const closed = closeOf(io)
      recorder.sessions[0]?.destroy(new Error('test'))
      await closed
      expect(await recorder.sessionClosed()).toBeInstanceOf(Error)
    })

    // Over HTTP/1.1 a session has one exchange at a time: there is nothing to hold it to.
    if (!harness.multiplexed) return

    test('a transport counts open streams', async () => {
      const client = await open()
      const exchanges = [client.connect('a.test:1'), client.connect('b.test:2'), client.connect('c.test:3')]
      const requests = [await recorder.request(), await recorder.request(), await recorder.request()]
      const [session] = recorder.sessions
      expect(session?.openStreams).toBe(3)
      requests[0]?.reset('cancel')
      exchanges[0]?.answer.catch(() => {})
      const io = connectOf(requests[1] as Exchange).accept().io
      io?.end()
      io?.resume()
      exchanges[1]?.stream.end()
      exchanges[1]?.stream.resume()
      if (io) await closeOf(io)
      requests[2]?.refuse(502)
      exchanges[2]?.stream.end()
      const { answer, stream } = exchanges[2] as ContractExchange
      await answer
      await collect(stream)
      await expect.poll(() => session?.openStreams).toBe(0)
    })

    test('a transport takes no new request once its client knows that it drains', async () => {
      const { client } = await tunnel()
      const heard = client.hearsOfDrain?.()
      void recorder.sessions[0]?.close({ graceMs: 5000 })
      let late = false
      void recorder.request().then(() => (late = true))
      await heard
      await expect(Promise.try(() => client.connect('late.test:1').answer)).rejects.toThrow()
      expect(late).toBe(false)
      recorder.sessions[0]?.destroy(new Error('test over'))
    })
  })
}
