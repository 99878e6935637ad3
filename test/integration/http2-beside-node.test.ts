/**
 * The same frames to our HTTP/2 and to that of Node: those who answer see the same requests, contents and ends, and the
 * client gets the same answers. All scripts keep to RFC 9113; where a server may choose, the comparison leaves it out:
 * sizes of frames, windows, the date.
 */
import { once } from 'node:events'
import http2 from 'node:http2'
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { Exchange } from '../../src/contract/exchange.ts'
import { HpackDecoder } from '../../src/wire/http2/hpack-decoder.ts'
import { testCertificate } from '../support/certificate.ts'
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  PADDED,
  PRIORITY,
  frame,
  headerBlock,
  uint32,
} from '../support/http2-frames.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { RawHttp2 } from '../support/raw-http2.ts'
import { settled } from '../support/settled.ts'
import { startTlsTransport } from '../support/tls-transport.ts'

const LARGE = Buffer.from(Array.from({ length: 150_000 }, (_, index) => index % 251))

/** What an application sees of a request. */
class Seen {
  readonly request: Record<string, unknown>
  content = ''
  end: 'ended' | 'cut' | undefined

  constructor(request: Record<string, unknown>) {
    this.request = request
  }

  /** Notes what comes, and whether it ends before the stream closes. */
  watch(stream: Duplex): void {
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => (this.content += chunk.toString('latin1')))
    stream.once('end', () => (this.end = 'ended'))
    stream.once('close', () => (this.end ??= 'cut'))
  }
}

/** Answers a tunnel with an echo, `/large` with a lot, everything else with its own content. */
function answer(seen: Seen, stream: Duplex, respond: () => Duplex): void {
  const { method, path } = seen.request
  if (method === 'CONNECT') {
    const io = respond()
    seen.watch(io)
    io.on('data', (chunk: Buffer) => io.write(chunk))
    io.once('end', () => io.end())
    return
  }
  seen.watch(stream)
  stream.once('end', () => respond().end(path === '/large' ? LARGE : Buffer.from(seen.content, 'latin1')))
}

interface Server extends AsyncDisposable {
  readonly port: number
  readonly seen: Seen[]
}

async function startOurs(): Promise<Server> {
  const seen: Seen[] = []
  const onExchange = (exchange: Exchange): void => {
    exchange.session.trust()
    const { kind, method, authority, headers } = exchange
    const isConnect = kind === 'connect'
    const own = new Seen({
      method,
      authority,
      path: isConnect ? undefined : exchange.path,
      fields: { ...headers },
    })
    seen.push(own)
    if (isConnect) answer(own, undefined as never, () => exchange.accept({ 'x-app': 'yes' }).io)
    else answer(own, exchange.body() as Duplex, () => exchange.respond(200, { 'x-app': 'yes' }) as Duplex)
  }
  const transport = await startTlsTransport('h2', () => ({ onExchange, onClose: () => {} }))
  return { port: transport.port, seen, [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose]() }
}

function plainFields(headers: IncomingHttpHeaders): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')))
}

async function startNode(): Promise<Server> {
  const seen: Seen[] = []
  const sessions = new Set<ServerHttp2Session>()
  const server = http2.createSecureServer({
    ...testCertificate(),
    settings: { enableConnectProtocol: false },
  })
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => {})
  })
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    const { ':method': method, ':path': path, ':authority': authority } = headers
    const own = new Seen({ method, authority, path, fields: plainFields(headers) })
    seen.push(own)
    // Node also ends what the client has reset.
    stream.once('close', () => {
      if (stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR) own.end = 'cut'
    })
    answer(own, stream, () => {
      if (stream.closed) return stream
      stream.respond({ ':status': 200, 'x-app': 'yes' })
      return stream
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** What a client got on one stream. */
interface Answer {
  readonly head: string[]
  content: string
  end: string | undefined
}

function answersOf(client: RawHttp2): Record<number, Answer> {
  const decoder = new HpackDecoder(4096, {})
  const answers: Record<number, Answer> = {}
  for (const { name, flags, stream, payload } of client.frames) {
    if (stream === 0 || !['HEADERS', 'DATA', 'RST_STREAM'].includes(name ?? '')) continue
    const own = (answers[stream] ??= { head: [], content: '', end: undefined })
    if (name === 'HEADERS')
      decoder.decode(payload, {
        onField: (field, value) => void (field !== 'date' && own.head.push(`${field}: ${value}`)),
      })
    if (name === 'DATA') own.content += payload.toString('latin1')
    if (name === 'RST_STREAM') own.end ??= `reset ${payload.readUInt32BE(0)}`
    else if ((flags & END_STREAM) !== 0) own.end = 'ended'
  }
  return answers
}

type Step = Buffer | ((client: RawHttp2) => Promise<unknown>)

/** Waits for the end of the answer. */
function ended(stream: number): Step {
  return (client) => client.frame((sent) => sent.stream === stream && sent.name !== 'PING' && isLast(sent))
}

function isLast({ name, flags }: { name: string | undefined; flags: number }): boolean {
  return name === 'RST_STREAM' || ((name === 'DATA' || name === 'HEADERS') && (flags & END_STREAM) !== 0)
}

/** Waits until so much content has come. */
function content(stream: number, bytes: number): Step {
  return (client) => client.frame(() => (answersOf(client)[stream]?.content.length ?? 0) >= bytes)
}

const pong: Step = (client) => client.frame(({ name, flags }) => name === 'PING' && flags === ACK)
const acknowledged: Step = (client) =>
  client.frame(
    () => client.frames.filter(({ name, flags }) => name === 'SETTINGS' && flags === ACK).length > 1,
  )

const REQUEST: readonly (readonly [string, string])[] = [
  [':scheme', 'https'],
  [':authority', 'host.example'],
  ['x-a', '1'],
  ['x-a', '2'],
  ['cookie', 'a=b'],
  ['cookie', 'c=d'],
]

function blockOf(method: string, path = '/'): Buffer {
  if (method === 'CONNECT')
    return headerBlock([
      [':method', method],
      [':authority', 'host.example:443'],
    ])
  return headerBlock([[':method', method], [':path', path], ...REQUEST])
}

function get(stream: number, path = '/'): Buffer {
  return frame('HEADERS', { stream, flags: END_HEADERS | END_STREAM, payload: blockOf('GET', path) })
}

function post(stream: number): Buffer {
  return frame('HEADERS', { stream, flags: END_HEADERS, payload: blockOf('POST') })
}

function connect(stream: number): Buffer {
  return frame('HEADERS', { stream, flags: END_HEADERS, payload: blockOf('CONNECT') })
}

function data(stream: number, payload: string | Buffer, endsStream = false): Buffer {
  return frame('DATA', { stream, flags: endsStream ? END_STREAM : 0, payload })
}

function window(stream: number, bytes: number): Buffer {
  return frame('WINDOW_UPDATE', { stream, payload: uint32(bytes) })
}

function settings(identifier: number, value: number): Buffer {
  return frame('SETTINGS', { payload: Buffer.concat([Buffer.from([0, identifier]), uint32(value)]) })
}

function cut(block: Buffer, stream: number, flags: number): Buffer[] {
  const [first, second] = [7, block.length - 3]
  return [
    frame('HEADERS', { stream, flags, payload: block.subarray(0, first) }),
    frame('CONTINUATION', { stream, payload: block.subarray(first, second) }),
    frame('CONTINUATION', { stream, payload: '' }),
    frame('CONTINUATION', { stream, flags: END_HEADERS, payload: block.subarray(second) }),
  ]
}

/** No more than the windows that the server has given. */
async function upload(client: RawHttp2): Promise<void> {
  const granted = (stream: number): number =>
    client.frames
      .filter((sent) => sent.name === 'WINDOW_UPDATE' && sent.stream === stream)
      .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 65_535)
  for (let sent = 0; sent < LARGE.length;) {
    const end = Math.min(LARGE.length, sent + 16_384)
    const needed = end
    await client.frame(() => Math.min(granted(0), granted(1)) >= needed)
    client.send(data(1, LARGE.subarray(sent, end), end === LARGE.length))
    sent = end
  }
}

const INDEXED = Buffer.concat([
  blockOf('GET'),
  Buffer.from([0x40, 3]),
  Buffer.from('x-i'),
  Buffer.from([5]),
  Buffer.from('value'),
])

const SCRIPTS: Record<string, Step[]> = {
  'a request': [get(1), ended(1)],
  'requests with gaps in their numbers': [get(1), get(5), get(101), ended(1), ended(5), ended(101)],
  'content in pieces': [post(1), data(1, 'abc'), data(1, ''), data(1, 'def', true), ended(1)],
  'an end without content': [post(1), data(1, '', true), ended(1)],
  'padding everywhere': [
    frame('HEADERS', {
      stream: 1,
      flags: END_HEADERS | PADDED,
      payload: Buffer.concat([Buffer.from([5]), blockOf('POST'), Buffer.alloc(5)]),
    }),
    frame('DATA', { stream: 1, flags: PADDED, payload: Buffer.from('\x04abc\0\0\0\0') }),
    frame('DATA', { stream: 1, flags: PADDED, payload: Buffer.from('\x04\0\0\0\0') }),
    frame('DATA', { stream: 1, flags: PADDED | END_STREAM, payload: Buffer.from('\0def') }),
    ended(1),
  ],
  'a head in several frames': [...cut(blockOf('GET', '/cut'), 1, END_STREAM), ended(1)],
  priorities: [
    frame('PRIORITY', { stream: 3, payload: Buffer.from([0, 0, 0, 0, 200]) }),
    frame('HEADERS', {
      stream: 1,
      flags: END_HEADERS | END_STREAM | PRIORITY,
      payload: Buffer.concat([Buffer.from([0x80, 0, 0, 3, 15]), blockOf('GET')]),
    }),
    frame('PRIORITY', { stream: 1, payload: Buffer.from([0, 0, 0, 3, 0]) }),
    ended(1),
  ],
  'a PING in between': [
    post(1),
    data(1, 'a'),
    frame('PING', { payload: 'whatever' }),
    data(1, 'b', true),
    ended(1),
    pong,
  ],
  'frames and settings that nobody knows': [
    settings(0xff, 7),
    frame(0xbe, { stream: 1, flags: 255, payload: 'what is this' }),
    get(1),
    frame(0xfa),
    ended(1),
    acknowledged,
  ],
  trailers: [
    post(1),
    data(1, 'content'),
    frame('HEADERS', { stream: 1, flags: END_HEADERS | END_STREAM, payload: headerBlock([['x-sum', '1']]) }),
    ended(1),
  ],
  'trailers in several frames': [
    post(1),
    data(1, 'content'),
    ...cut(headerBlock([['x-sum', '1234567890']]), 1, END_STREAM),
    ended(1),
  ],
  'the table of the HPACK decoder': [
    frame('HEADERS', { stream: 1, flags: END_HEADERS | END_STREAM, payload: INDEXED }),
    frame('HEADERS', {
      stream: 3,
      flags: END_HEADERS | END_STREAM,
      payload: Buffer.concat([blockOf('GET'), Buffer.from([0xbe])]),
    }),
    ended(1),
    ended(3),
  ],
  'no table for the HPACK encoder': [settings(1, 0), acknowledged, get(1), ended(1), get(3), ended(3)],
  'an answer in a window that is opened bit by bit': [
    settings(4, 10),
    acknowledged,
    get(1, '/large'),
    content(1, 10),
    window(1, 1),
    content(1, 11),
    settings(4, 1000),
    content(1, 1001),
    window(1, 200_000),
    content(1, 65_535),
    window(0, 1),
    content(1, 65_536),
    window(0, 200_000),
    ended(1),
  ],
  'an initial window that is made smaller than what was sent': [
    get(1, '/large'),
    content(1, 65_535),
    settings(4, 0),
    acknowledged,
    window(0, 1_000_000),
    window(1, 65_535),
    window(1, 5),
    content(1, 65_540),
    window(1, 1_000_000),
    ended(1),
  ],
  'content larger than all windows': [post(1), upload, window(0, 200_000), window(1, 200_000), ended(1)],
  'a tunnel': [
    connect(1),
    data(1, 'ping'),
    content(1, 4),
    data(1, 'pong'),
    content(1, 8),
    data(1, '', true),
    ended(1),
  ],
  'a tunnel that is reset': [
    connect(1),
    data(1, 'ping'),
    content(1, 4),
    frame('RST_STREAM', { stream: 1, payload: uint32(8) }),
    get(3),
    ended(3),
  ],
  'a request that is reset before its content ends': [
    post(1),
    data(1, 'content'),
    frame('RST_STREAM', { stream: 1, payload: uint32(8) }),
    get(3),
    ended(3),
  ],
  'frames on a stream that the client has reset': [
    post(1),
    frame('RST_STREAM', { stream: 1, payload: uint32(8) }),
    window(1, 10),
    frame('PRIORITY', { stream: 1, payload: Buffer.from([0, 0, 0, 0, 1]) }),
    get(3),
    ended(3),
  ],
  'streams side by side': [
    connect(1),
    post(3),
    data(1, 'a'),
    data(3, 'b'),
    get(5),
    data(1, 'c'),
    data(3, 'd', true),
    ended(3),
    ended(5),
    content(1, 2),
    data(1, 'e', true),
    ended(1),
  ],
  'a client that says it leaves': [
    post(1),
    data(1, 'content'),
    frame('GOAWAY', { payload: Buffer.alloc(8) }),
    data(1, '', true),
    ended(1),
  ],
}

/** What both sides saw. */
async function play(server: Server, steps: readonly Step[], inBytes: boolean): Promise<unknown> {
  await using client = await RawHttp2.open(server.port)
  for (const step of steps) {
    if (!Buffer.isBuffer(step)) await step(client)
    else if (inBytes) for (const byte of step) client.send(Buffer.from([byte]))
    else client.send(step)
  }
  await settled(() => server.seen.every(({ end }) => end !== undefined))
  const failure = client.frames.find(
    ({ name, payload }) => name === 'GOAWAY' && payload.readUInt32BE(4) !== 0,
  )
  return {
    answers: answersOf(client),
    seen: server.seen.map(({ request, content: received, end }) => ({ request, received, end })),
    failed: failure !== undefined,
  }
}

describe('HTTP/2 beside that of Node', () => {
  it.each(Object.entries(SCRIPTS))('the same is seen on both sides: %s', async (_, steps) => {
    await using node = await startNode()
    await using ours = await startOurs()
    await using split = await startOurs()
    const expected = await play(node, steps, false)
    expect(await play(ours, steps, false)).toEqual(expected)
    // Large content would take too long.
    if (!steps.includes(upload)) expect(await play(split, steps, true)).toEqual(expected)
  })
})

expectNothingLeftOpen()
