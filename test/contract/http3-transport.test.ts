/** The transport contract over HTTP/3, and what only HTTP/3 has. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import type { ClientHttp3Stream } from '@currentspace/http3'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { SpillArea } from '../../src/relay/spill-area.ts'
import { Http3Transport } from '../../src/transport/http3/transport.ts'
import type { Http3Dependencies } from '../../src/transport/http3/options.ts'
import type { Exchange } from '../../src/contract/exchange.ts'
import type { Session } from '../../src/contract/session.ts'
import type { AcceptSession } from '../../src/contract/session-listener.ts'
import { createTestCertificate, testCertificate } from '../support/certificate.ts'
import { H3Client, RawH3Client, answerOf, resetOf } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openPlace } from '../support/open-place.ts'
import { collect, runTransportContract } from './transport.contract.ts'
import type { ContractClient, ContractExchange } from './transport.contract.ts'
import { connectOf, plainOf } from '../support/exchange-kind.ts'
import { HTTP3_OPTIONS } from '../support/room-options.ts'

const silent = pino({ level: 'silent' })

interface Started extends AsyncDisposable {
  readonly port: number
  readonly transport: Http3Transport
  readonly counters: Counters
}

async function start(
  acceptSession: AcceptSession,
  changes: Partial<Http3Dependencies> & { host?: string } = {},
): Promise<Started> {
  const { host = '127.0.0.1', ...deps } = changes
  const { cert, key } = testCertificate()
  const counters = new Counters()
  const area = { directory: tmpdir(), memoryBytes: 1024 * 1024, budgetBytes: 64 * 1024 * 1024 }
  const transport = new Http3Transport(
    { ...HTTP3_OPTIONS, host, port: 0, cert: Buffer.from(cert), key: Buffer.from(key) },
    {
      clock: systemClock,
      counters,
      log: silent,
      uploads: new SpillArea(area, { counters, log: silent }),
      acceptSession,
      admit: openPlace,
      userOf: ({ id }) => id,
      channelOf: () => 'main',
      ...deps,
    },
  )
  const started = await transport.start()
  if (started.kind === 'unavailable') throw started.error
  return {
    port: started.port,
    transport,
    counters,
    [Symbol.asyncDispose]: () => transport.close({ graceMs: 0 }),
  }
}

/** Hands every request to `onExchange`. */
function answerWith(onExchange: (request: Exchange) => void): AcceptSession {
  return () => ({ onExchange, onClose: () => {} })
}

function exchangeOf(stream: Awaited<ReturnType<typeof answerOf>>['stream']): ContractExchange {
  return {
    answer: answerOf(stream).then(({ status, headers }) => ({ status, headers })),
    stream,
    reset: () => stream.close(0x10c),
  }
}

runTransportContract({
  protocol: 'HTTP3',
  multiplexed: true,
  async start(accept) {
    const started = await start(accept)
    const clients: H3Client[] = []
    return {
      async open(): Promise<ContractClient> {
        const client = await H3Client.open(started.port)
        clients.push(client)
        return {
          connect: (authority, headers) => exchangeOf(client.connect(authority, headers)),
          request: (method, path, headers = {}) =>
            exchangeOf(
              client.request({
                ':method': method,
                ':scheme': 'https',
                ':authority': 'vpn.endpoint',
                ':path': path,
                ...headers,
              }),
            ),
          get: (scheme, authority, path) =>
            exchangeOf(
              client.request(
                { ':method': 'GET', ':scheme': scheme, ':authority': authority, ':path': path },
                { endStream: true },
              ),
            ),
          destroy: () => client.session.destroy(),
        }
      },
      async [Symbol.asyncDispose]() {
        await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()))
        await started[Symbol.asyncDispose]()
      },
    }
  },
})

describe('HTTP/3 requests', () => {
  const MALFORMED: [string, [string, string][]][] = [
    [
      'an upper-case name',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        ['User-Agent', 'x'],
      ],
    ],
    [
      'CONNECT with :path',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        [':path', '/'],
      ],
    ],
    [
      'CONNECT with :scheme',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        [':scheme', 'https'],
      ],
    ],
    ['CONNECT without :authority', [[':method', 'CONNECT']]],
    [
      'GET without :path',
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':authority', 'a'],
      ],
    ],
    [
      'GET without :scheme',
      [
        [':method', 'GET'],
        [':path', '/'],
        [':authority', 'a'],
      ],
    ],
    [
      'GET without host',
      [
        [':method', 'GET'],
        [':path', '/'],
        [':scheme', 'https'],
      ],
    ],
    [
      'two hosts',
      [
        [':method', 'GET'],
        [':path', '/'],
        [':scheme', 'https'],
        [':authority', 'a'],
        ['host', 'b'],
      ],
    ],
    [
      'a pseudo-header twice',
      [
        [':method', 'CONNECT'],
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
      ],
    ],
    [
      'a pseudo-header behind a field',
      [
        [':method', 'CONNECT'],
        ['x', 'y'],
        [':authority', 'a:1'],
      ],
    ],
    [
      'an unknown pseudo-header',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        [':protocol', 'websocket'],
      ],
    ],
    [
      'a connection field',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        ['connection', 'close'],
      ],
    ],
    [
      'te of another value',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        ['te', 'gzip'],
      ],
    ],
    [
      'a line break in a value',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        ['x', 'a\r\nb: c'],
      ],
    ],
    ...['\x01', '\x1b', '\x7f', '\t', ' '].map((byte): [string, [string, string][]] => [
      `byte ${byte.charCodeAt(0)} in :authority`,
      [
        [':method', 'CONNECT'],
        [':authority', `a${byte}b:1`],
      ],
    ]),
    [
      'a control byte in :path',
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':authority', 'a'],
        [':path', '/\x02'],
      ],
    ],
    [
      'a control byte in the host that stands for :authority',
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '/'],
        ['host', 'a\x1bb'],
      ],
    ],
    [
      'a space in a name',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        ['x y', 'z'],
      ],
    ],
    [
      'an empty name',
      [
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
        ['', 'z'],
      ],
    ],
  ]

  test('HTTP/3 resets malformed requests with H3_MESSAGE_ERROR and keeps the connection', async () => {
    const methods: string[] = []
    await using server = await start(
      answerWith((request) => {
        methods.push(request.method)
        request.refuse(404)
      }),
    )
    await using client = await RawH3Client.open(server.port)
    for (const [name, fields] of MALFORMED) {
      const code = await client.resetOf(client.request(fields))
      expect([name, code]).toEqual([name, 0x10e])
    }
    const stream = client.request([
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
      ['te', 'trailers'],
    ])
    await once(stream, 'data')
    expect(methods).toEqual(['CONNECT'])
    expect(server.counters.snapshot().http3_malformed_requests).toBe(MALFORMED.length)
  })

  test('HTTP/3 resets content that contradicts its length', async () => {
    await using server = await start(answerWith((request) => plainOf(request).body().resume()))
    await using client = await H3Client.open(server.port)
    const head = { ':method': 'POST', ':scheme': 'https', ':authority': 'a', ':path': '/' }
    const stream = client.request({ ...head, 'content-length': '5' })
    const code = resetOf(stream)
    stream.end('four')
    expect(await code).toBe(0x10e)
  })

  test('HTTP/3 refuses head sections beyond 64 KiB', async () => {
    await using server = await start(answerWith((request) => request.refuse(200)))
    await using client = await H3Client.open(server.port)
    expect(await resetOf(client.connect('a:1', { 'x-large': 'x'.repeat(70_000) }))).toBe(0x107)
  })

  test.each([
    ['no_error', 0x100],
    ['cancel', 0x10c],
    ['connect_error', 0x10f],
    ['excessive_load', 0x107],
    ['internal_error', 0x102],
  ] as const)('HTTP/3 has its own code for a reset with %s', async (reason, code) => {
    await using server = await start(answerWith((request) => request.reset(reason)))
    await using client = await H3Client.open(server.port)
    expect(await resetOf(client.connect('a:1'))).toBe(code)
  })

  test('HTTP/3 takes a reset with H3_NO_ERROR for an end', async () => {
    const accepted = Promise.withResolvers<string>()
    await using server = await start(
      answerWith((request) => accepted.resolve(collect(connectOf(request).accept().io).then(String))),
    )
    await using client = await H3Client.open(server.port)
    const { stream } = await client.tunnel('a:1')
    stream.write('whole')
    await expect.poll(() => stream.writableLength).toBe(0)
    // What is written must have left before the reset discards it.
    await new Promise((resolve) => client.session.ping(resolve))
    stream.close(0x100)
    expect(await accepted.promise).toBe('whole')
  })

  test('HTTP/3 releases answered streams that the client does not end', async () => {
    await using server = await start(answerWith((request) => request.refuse(502)))
    await using client = await H3Client.open(server.port, { initialMaxStreamsBidi: 10 })
    const { stream } = await client.tunnel('a:1')
    stream.resume()
    // STOP_SENDING arrives a moment later; this client notices when it writes.
    await expect.poll(() => stream.destroyed || !stream.write('x'), { timeout: 20_000 }).toBe(true)
    expect(stream.destroyed).toBe(true)
  })

  // A reset takes back what has not been sent. One that followed at once sometimes took back the head as well.
  test('HTTP/3 delivers what was sent before a reset', async () => {
    await using server = await start(
      answerWith((request) => {
        plainOf(request).respond(200, {}).write('half')
        request.reset('internal_error')
      }),
    )
    await using client = await H3Client.open(server.port)
    const one = async (): Promise<[number, number | undefined]> => {
      const stream = client.request(
        { ':method': 'GET', ':scheme': 'https', ':authority': 'a', ':path': '/' },
        { endStream: true },
      )
      stream.resume()
      const code = resetOf(stream)
      const { status } = await answerOf(stream)
      return [status, await code]
    }
    for (let round = 0; round < 10; round++) {
      const answers = await Promise.all(Array.from({ length: 30 }, one))
      expect(answers).toEqual(answers.map(() => [200, 0x102]))
    }
  })

  test('HTTP/3 leaves nothing behind after 5,000 requests', async () => {
    let session: Session | undefined
    await using server = await start((opened) => {
      session = opened
      return {
        onExchange: (request) => connectOf(request).accept({}, { endStream: true }),
        onClose: () => {},
      }
    })
    await using client = await H3Client.open(server.port)
    const one = async (): Promise<void> => {
      const stream = client.connect('_check')
      stream.end()
      await answerOf(stream)
      stream.resume()
      if (!stream.closed) await once(stream, 'close')
    }
    for (let done = 0; done < 500; done++) await one()
    const before = process.memoryUsage().heapUsed
    for (let done = 0; done < 4500; done += 10) await Promise.all(Array.from({ length: 10 }, one))
    expect(session?.openStreams).toBe(0)
    // Far below a kilobyte for each of them, without a forced collection.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024)
  }, 120_000)
})

/** Clients that have not authenticated get nothing on disk: two sessions of a stranger once filled 300 MB in 4 s. */
describe('What a stranger sends over HTTP/3', () => {
  const SENT_BYTES = 16 * 1024 * 1024

  async function startForStrangers(): Promise<Started & { readonly asked: Promise<Exchange> }> {
    const asked = Promise.withResolvers<Exchange>()
    const started = await start(answerWith(asked.resolve), { userOf: () => undefined })
    return { ...started, asked: asked.promise }
  }

  /** Sends more than a stranger may leave in memory. */
  async function flood(server: Started, stream: ClientHttp3Stream): Promise<void> {
    stream.write(Buffer.alloc(SENT_BYTES))
    await expect.poll(() => server.counters.snapshot()['spill_overflows{stranger}']).toBe(1)
    expect(server.counters.snapshot()['spill_bytes']).toBeUndefined()
  }

  test('what a stranger sends over HTTP/3 is thrown away while he waits for a refusal, which he gets', async () => {
    await using server = await startForStrangers()
    await using client = await H3Client.open(server.port)
    const stream = client.connect('a:1')
    const answer = answerOf(stream)
    const exchange = await server.asked
    await flood(server, stream)
    exchange.refuse(407)
    expect((await answer).status).toBe(407)
  })

  test('what a stranger sends over HTTP/3 ends the request when it is wanted after all', async () => {
    await using server = await startForStrangers()
    await using client = await H3Client.open(server.port)
    const stream = client.connect('a:1')
    const code = resetOf(stream)
    const exchange = await server.asked
    await flood(server, stream)
    if (exchange.kind === 'connect') exchange.accept().io.resume()
    expect(await code).toBe(0x107)
  })

  test('what a stranger sends over HTTP/3 ends the request when it is read too slowly', async () => {
    await using server = await startForStrangers()
    await using client = await H3Client.open(server.port)
    const head = { ':method': 'POST', ':scheme': 'https', ':authority': 'a', ':path': '/' }
    const stream = client.request(head)
    const code = resetOf(stream)
    const exchange = await server.asked
    if (exchange.kind === 'plain') exchange.body().read(0)
    await flood(server, stream)
    expect(await code).toBe(0x107)
  })
})

async function replaceCertificate(transport: Http3Transport, cert: Buffer, key: Buffer): Promise<void> {
  const replacement = await transport.openReplacement(cert, key)
  await replacement?.takeOver()
}

describe('HTTP/3 listener', () => {
  /** With several the kernel sends a client whose port changes to a thread that does not know its session. */
  test('the HTTP/3 listener has one socket, on which a new certificate works too', async () => {
    await using server = await start(answerWith(() => {}))
    const port = server.port.toString(16).toUpperCase().padStart(4, '0')
    const sockets = async (): Promise<number> =>
      (await readFile('/proc/net/udp', 'utf8')).split(`: 0100007F:${port} `).length - 1
    expect(await sockets()).toBe(1)
    const { cert, key } = createTestCertificate(['vpn.endpoint'])
    await replaceCertificate(server.transport, Buffer.from(cert), Buffer.from(key))
    expect(await sockets()).toBe(1)
  })

  test('the HTTP/3 listener leaves TCP on its port free', async () => {
    await using server = await start(answerWith(() => {}))
    // Not by binding it: some other program may have it as the near end of a connection.
    const table = await readFile('/proc/net/tcp', 'utf8')
    const port = server.port.toString(16).toUpperCase().padStart(4, '0')
    expect(table).not.toMatch(new RegExp(`: [0-9A-F]{8}:${port} [0-9A-F]{8}:0000 0A `, 'u'))
  })

  test.each(['127.0.0.1', '::1'])(
    'the HTTP/3 listener takes %s on the address for both families',
    async (host) => {
      const addresses: string[] = []
      await using server = await start(
        (session) => {
          addresses.push(session.remoteAddress)
          return { onExchange: (request) => request.refuse(502), onClose: () => {} }
        },
        { host: '::' },
      )
      await using client = await H3Client.open(server.port, { host })
      expect((await client.tunnel('a:1')).status).toBe(502)
      expect(addresses).toEqual([host])
    },
  )

  test('the HTTP/3 listener turns away addresses that the rules deny, before anyone hears of them', async () => {
    let sessions = 0
    await using server = await start(
      () => {
        sessions++
        return { onExchange: () => {}, onClose: () => {} }
      },
      { admit: () => undefined },
    )
    // The client may complete the handshake before it learns.
    const told = await H3Client.open(server.port).then(
      (client) => client.closed.then(() => true),
      () => true,
    )
    expect(told).toBe(true)
    expect(sessions).toBe(0)
    expect(server.counters.snapshot().http3_denied).toBe(1)
  })

  test('the HTTP/3 listener gives a new certificate to new connections and ends the old ones in order', async () => {
    await using server = await start(answerWith((request) => request.refuse(502)))
    await using before = await H3Client.open(server.port)
    await before.tunnel('a:1')
    const { cert, key } = createTestCertificate(['vpn.endpoint'])
    await replaceCertificate(server.transport, Buffer.from(cert), Buffer.from(key))
    expect((await before.closed).errorCode).toBe(0x100)
    await using after = await H3Client.open(server.port)
    expect((await after.tunnel('a:1')).status).toBe(502)
  })

  /** The kernel spreads a port's packets over its sockets, and does so again differently when some of them close. */
  test('the HTTP/3 listener tells clients that come while two servers share the port to come again', async () => {
    await using server = await start(answerWith((request) => void connectOf(request).accept()))
    await using before = await H3Client.open(server.port)
    await before.tunnel('a:1')
    const { cert, key } = createTestCertificate(['vpn.endpoint'])
    const replaced = replaceCertificate(server.transport, Buffer.from(cert), Buffer.from(key))
    const opened = await Promise.allSettled(Array.from({ length: 16 }, () => H3Client.open(server.port)))
    const clients = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    await replaced
    // The old server has refused some; the others must not be left to their idle timeout of a minute.
    await Promise.all(clients.map((client) => client.closed))
    for (const client of clients) await client[Symbol.asyncDispose]()
    await using after = await H3Client.open(server.port)
    expect((await after.tunnel('a:1')).status).toBe(200)
  })

  test('the HTTP/3 listener keeps the old certificate when the new one is refused', async () => {
    await using server = await start(answerWith((request) => request.refuse(502)))
    const bad = Buffer.from('not a certificate')
    await expect(replaceCertificate(server.transport, bad, bad)).rejects.toThrow()
    await using client = await H3Client.open(server.port)
    expect((await client.tunnel('a:1')).status).toBe(502)
  })

  test('the HTTP/3 listener refuses a port that is taken by somebody else', async () => {
    const { createSocket } = await import('node:dgram')
    const other = createSocket('udp4')
    other.bind(0, '127.0.0.1')
    await once(other, 'listening')
    const { cert, key } = testCertificate()
    const counters = new Counters()
    const transport = new Http3Transport(
      {
        ...HTTP3_OPTIONS,
        host: '127.0.0.1',
        port: other.address().port,
        cert: Buffer.from(cert),
        key: Buffer.from(key),
      },
      {
        clock: systemClock,
        counters,
        log: silent,
        uploads: new SpillArea(
          { directory: tmpdir(), memoryBytes: 1, budgetBytes: 1 },
          { counters, log: silent },
        ),
        acceptSession: answerWith(() => {}),
        admit: openPlace,
        userOf: ({ id }) => id,
        channelOf: () => 'main',
      },
    )
    await expect(transport.start()).rejects.toThrow()
    const closed = once(other, 'close')
    other.close()
    await closed
  })
})

expectNothingLeftOpen()
