/**
 * Hostile HTTP/2 on raw TLS: the process survives, every connection and session is released, memory stays bounded, and
 * a well-behaved client is served all the while. Ten seconds; the seed is printed, and `CULVERT_FUZZ_SEED` repeats a
 * run.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OPEN_EDGE, USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { EndpointProcess } from '../support/endpoint-process.ts'
import { H2Client } from '../support/h2-client.ts'
import { ACK, END_HEADERS, END_STREAM, PREFACE, frame, headerBlock, uint32 } from '../support/http2-frames.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { Random } from '../support/random.ts'
import { RawHttp2, connectFrame } from '../support/raw-http2.ts'
import { readAll } from '../support/reading.ts'
import { openEcho } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'

const LIMIT_MS = 10_000
const AT_ONCE = 8
/** Enough for even the slowest machine. */
const LEAST_ATTACKS = 40
const SEED = Number(process.env['CULVERT_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
const MEMORY_GROWTH_LIMIT_MIB = 300

interface Attack {
  readonly name: string
  /** What is sent behind preface and SETTINGS; `target` echoes. */
  readonly bytes: (random: Random, target: string) => Buffer[]
}

const repeat = (count: number, make: (index: number) => Buffer): Buffer[] =>
  Array.from({ length: count }, (_, i) => make(i))
const streamId = (index: number): number => 2 * index + 1

const ATTACKS: readonly [Attack, ...Attack[]] = [
  {
    name: 'HEADERS that no decoder can read',
    bytes: (random) => [
      frame('HEADERS', {
        stream: 1,
        flags: END_HEADERS | END_STREAM,
        payload: random.bytes(1 + random.below(200)),
      }),
    ],
  },
  {
    name: 'a huge table, then references into it',
    bytes: (random) => {
      const resize = Buffer.from([0x3f, 0xe1, 0xff, 0xff, 0xff, 0x07])
      const references = Buffer.from(
        repeat(200, () => Buffer.from([0x80 | random.below(128)])).map(([byte]) => byte ?? 0),
      )
      return [
        frame('HEADERS', { stream: 1, flags: END_HEADERS, payload: Buffer.concat([resize, references]) }),
      ]
    },
  },
  {
    name: 'fields without end',
    bytes: () => {
      const payload = headerBlock(
        repeat(100, () => Buffer.alloc(0)).map((_, i) => [`x-${i}`, 'v'.repeat(100)] as const),
      )
      const first = frame('HEADERS', { stream: 1, payload: headerBlock([[':method', 'CONNECT']]) })
      return [first, ...repeat(200, () => frame('CONTINUATION', { stream: 1, payload }))]
    },
  },
  {
    name: 'header blocks kept open on many streams',
    bytes: () =>
      repeat(200, (i) =>
        frame('HEADERS', { stream: streamId(i), payload: headerBlock([[':method', 'GET']]) }),
      ),
  },
  {
    name: 'CONTINUATION, then nothing',
    bytes: (random, target) => {
      const whole = connectFrame(1, target)
      const cut = 9 + random.below(whole.length - 9)
      return [
        frame('HEADERS', { stream: 1, payload: whole.subarray(9, cut) }),
        frame('CONTINUATION', { stream: 1, payload: whole.subarray(cut, cut + random.below(20)) }),
      ]
    },
  },
  {
    name: 'a window that overflows',
    bytes: (random, target) => {
      const stream = random.pick([0, 1])
      const update = frame('WINDOW_UPDATE', { stream, payload: uint32(0x7fffffff) })
      return [
        connectFrame(1, target),
        update,
        update,
        frame('DATA', { stream: 1, payload: random.bytes(100) }),
      ]
    },
  },
  {
    name: 'an initial window that overflows open streams',
    bytes: (_, target) => [
      connectFrame(1, target),
      frame('WINDOW_UPDATE', { stream: 1, payload: uint32(0x7fff0000) }),
      frame('SETTINGS', { payload: Buffer.concat([Buffer.from([0, 4]), uint32(0x7fffffff)]) }),
    ],
  },
  {
    name: 'more content than the window',
    bytes: (_, target) => [
      connectFrame(1, target),
      ...repeat(16, () => frame('DATA', { stream: 1, payload: Buffer.alloc(16_384) })),
    ],
  },
  {
    name: 'rapid resets',
    bytes: (random, target) =>
      repeat(500, (i) =>
        Buffer.concat([
          connectFrame(streamId(i), target),
          frame('RST_STREAM', { stream: streamId(i), payload: uint32(random.below(14)) }),
        ]),
      ),
  },
  {
    name: 'more streams than allowed',
    bytes: (_, target) => repeat(1200, (i) => connectFrame(streamId(i), target)),
  },
  { name: 'SETTINGS flood', bytes: () => repeat(3000, () => frame('SETTINGS')) },
  { name: 'PING flood', bytes: (random) => repeat(3000, () => frame('PING', { payload: random.bytes(8) })) },
  {
    name: 'empty DATA flood',
    bytes: (_, target) => [connectFrame(1, target), ...repeat(3000, () => frame('DATA', { stream: 1 }))],
  },
  {
    name: 'acknowledgements nobody asked for',
    bytes: () => repeat(20, () => frame('SETTINGS', { flags: ACK })),
  },
  {
    name: 'any frames',
    bytes: (random, target) => [
      connectFrame(1, target),
      ...repeat(1 + random.below(40), () =>
        frame(random.below(12), {
          flags: random.below(256),
          stream: random.below(8),
          payload: random.bytes(random.below(60)),
          ...(random.below(20) === 0 && { length: random.below(2 ** 24) }),
        }),
      ),
    ],
  },
  { name: 'noise', bytes: (random) => [random.bytes(1 + random.below(2000))] },
]

/** How the hostile client leaves. */
const LEAVING = ['close', 'end', 'reset', 'wait'] as const

/** Sends it, waits for a sign that it was read, or not, and leaves. */
async function attack(port: number, random: Random, target: string): Promise<void> {
  const { bytes } = random.pick(ATTACKS)
  const raw = await RawHttp2.connect(port)
  const preface = random.below(20) === 0 ? random.bytes(24) : Buffer.from(PREFACE)
  raw.send(preface, frame('SETTINGS'), ...bytes(random, target))
  const leaving = random.pick(LEAVING)
  if (leaving === 'wait')
    await Promise.race([raw.closed(), raw.frame(({ name }) => name !== 'SETTINGS')]).catch(() => {})
  if (leaving === 'end') raw.socket.end()
  else if (leaving === 'reset') raw.reset()
  await raw[Symbol.asyncDispose]()
}

describe(`hostile sessions, seed ${SEED}`, () => {
  let echo: TcpTarget
  beforeAll(async () => {
    echo = await openEcho()
  })
  afterAll(() => echo[Symbol.asyncDispose]())

  it.each(ATTACKS)('a hostile HTTP/2 session hurts nobody else: $name', async ({ bytes }) => {
    const random = new Random(SEED)
    await using endpoint = await startEndpoint({ tables: OPEN_EDGE })
    await using raw = await RawHttp2.connect(endpoint.port)
    raw.send(PREFACE, frame('SETTINGS'), ...bytes(random, echo.authority))
    await expectServed(endpoint)
    await raw[Symbol.asyncDispose]()
    await endpoint.waitUntilFree()
  })

  it(
    'hostile sessions in any order for ten seconds leave nothing and hurt nobody',
    { timeout: 120_000 },
    async () => {
      const random = new Random(SEED)
      await using endpoint = await EndpointProcess.start({ tables: OPEN_EDGE })
      await using good = await H2Client.open({ port: endpoint.port, ...USER })
      await expectEcho(good, echo.authority)
      const sockets = await endpoint.sockets()
      const before = await endpoint.memory()
      const deadline = performance.now() + LIMIT_MS
      for (let attacks = 0; attacks < LEAST_ATTACKS || performance.now() < deadline; attacks += AT_ONCE) {
        await Promise.all(
          repeat(AT_ONCE, () => Buffer.alloc(0)).map(() => attack(endpoint.port, random, echo.authority)),
        )
        await expectEcho(good, echo.authority)
      }
      await expect.poll(() => endpoint.sockets(), { timeout: 45_000 }).toBe(sockets)
      await expect.poll(() => echo.sockets.size, { timeout: 45_000 }).toBe(0)
      expect((await endpoint.memory()).peak - before.now).toBeLessThan(MEMORY_GROWTH_LIMIT_MIB)
      // The endpoint still ends in order.
      endpoint.program.signal('SIGTERM')
      expect((await endpoint.program.finished).code).toBe(0)
    },
  )
})

async function expectServed(endpoint: TestEndpoint): Promise<void> {
  await using good = await H2Client.open({ port: endpoint.port, ...USER })
  expect((await good.connect('_check')).status).toBe(200)
}

async function expectEcho(client: H2Client, authority: string): Promise<void> {
  const { stream } = await client.connect(authority)
  stream.end('ping')
  expect((await readAll(stream)).toString()).toBe('ping')
}

expectNothingLeftOpen()
