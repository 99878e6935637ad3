/**
 * Clients over HTTP/2 that make the endpoint work for nothing (`docs/limits.md`): each is cut off with the code and the
 * counter of the limit that it met, and somebody else is served all the while.
 */
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OPEN_EDGE, USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { EndpointProcess } from '../support/endpoint-process.ts'
import { H2Client } from '../support/h2-client.ts'
import { HTTP2_ATTACKS } from '../support/http2-attacks.ts'
import type { Http2Attack } from '../support/http2-attacks.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hashOf, sendPattern } from '../support/patterned-bytes.ts'
import { RawHttp2, connectFrame } from '../support/raw-http2.ts'
import type { ReceivedFrame } from '../support/raw-http2.ts'
import { readAll } from '../support/reading.ts'
import { openEcho, openTcpTarget } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'

/** Far more than any limit needs, even where time refills it. */
const MAX_ROUNDS = 2000
/** Garbage of the engine included: each attack sends up to 8 MiB. */
const GROWTH_LIMIT_MIB = 128

const KIB = 1024
/** The first window of a connection (RFC 9113 section 6.9.2). */
const WINDOW_BYTES = 65_535
const WAITING = 900
const CONTENT_BYTES = 4 * KIB * KIB
/** The attacker runs in the same process as the other client. */
const SLOWER = 60

type Role = 'stranger' | 'user'
const CASES = HTTP2_ATTACKS.flatMap((attack) => [
  ...(attack.forUsers ? [] : [{ attack, role: 'stranger' as Role, name: attack.name }]),
  // These two limits are a web server's for its visitors.
  ...(attack.code === 0 ? [] : [{ attack, role: 'user' as Role, name: attack.name }]),
])

let echo: TcpTarget
beforeAll(async () => {
  echo = await openEcho()
})
afterAll(() => echo[Symbol.asyncDispose]())

async function openAs(role: Role, port: number): Promise<RawHttp2> {
  const client = await RawHttp2.open(port)
  if (role === 'stranger') return client
  client.send(connectFrame(1, '_udp2'))
  await client.frame(({ name, stream }) => name === 'HEADERS' && stream === 1)
  return client
}

const isGoaway = ({ name }: ReceivedFrame): boolean => name === 'GOAWAY'

/** Until the endpoint has had enough. Gives the code of GOAWAY. */
async function run(attack: Http2Attack, client: RawHttp2): Promise<number | undefined> {
  const { socket } = client
  const over = once(socket, 'close')
  for (let round = 0; round < MAX_ROUNDS && !socket.destroyed && !client.frames.some(isGoaway); round++) {
    client.send(attack.round(3 + 2 * round * (attack.streams ?? 0)))
    if (socket.writableNeedDrain) await Promise.race([once(socket, 'drain'), over])
    else await new Promise((resolve) => setImmediate(resolve))
  }
  const goaway = await client.frame(isGoaway)
  return goaway.payload.readUInt32BE(4)
}

async function expectEcho(client: H2Client): Promise<void> {
  const { stream } = await client.connect(echo.authority)
  stream.end('ping')
  expect((await readAll(stream)).toString()).toBe('ping')
}

/** Echoes while `other` lasts, and once more; gives how many. */
async function echoDuring(client: H2Client, other: Promise<unknown>): Promise<number> {
  const over = other.then(
    () => true,
    () => true,
  )
  const goesOn = (): Promise<boolean> => new Promise((resolve) => setImmediate(() => resolve(false)))
  for (let count = 1; ; count++) {
    await expectEcho(client)
    if (await Promise.race([over, goesOn()])) return count
  }
}

describe('an attack', () => {
  let endpoint: TestEndpoint
  let good: H2Client
  beforeAll(async () => {
    endpoint = await startEndpoint({ tables: OPEN_EDGE })
    good = await H2Client.open({ port: endpoint.port, ...USER })
  })
  afterAll(async () => {
    await good[Symbol.asyncDispose]()
    await endpoint[Symbol.asyncDispose]()
  })

  it.each(CASES)('a $role who sends $name is cut off, and nobody else', async ({ attack, role }) => {
    const counter = attack.limit === undefined ? 'session_errors{HTTP2}' : `http2_limits_met{${attack.limit}}`
    const before = (await endpoint.supervisor.stats())[counter] ?? 0
    await using client = await openAs(role, endpoint.port)
    const attacked = run(attack, client)
    const [code, echoes] = await Promise.all([attacked, echoDuring(good, attacked)])
    expect(code).toBe(attack.code)
    expect(echoes).toBeGreaterThan(0)
    await endpoint.waitForStats((stats) => stats[counter] === before + 1)
    await expectEcho(good)
  })
})

/**
 * Each byte of the connection's window used to make the endpoint walk over all streams that wait for it: 200,000 updates
 * held up everybody for sixteen seconds, 280 times as long as without; 3 is usual now.
 */
it('a session of 900 streams that gets its window byte by byte slows nobody down', async () => {
  await using endpoint = await startEndpoint({ tables: OPEN_EDGE })
  await using some = await openTcpTarget((socket) => void socket.write(Buffer.alloc(WINDOW_BYTES)))
  await using little = await openTcpTarget((socket) => void socket.write(Buffer.alloc(KIB)))
  await using good = await H2Client.open({ port: endpoint.port, ...USER })
  await using client = await openAs('user', endpoint.port)
  client.send(connectFrame(3, some.authority))
  await client.several(4, ({ name }) => name === 'DATA')
  client.send(...Array.from({ length: WAITING }, (_, index) => connectFrame(5 + 2 * index, little.authority)))
  await endpoint.waitForStats((stats) => stats['http2_held_bytes{downlink}'] === WAITING * KIB)

  const alone = await timeOf(() => expectEchoOf(good, CONTENT_BYTES))
  const [attack] = HTTP2_ATTACKS.filter(({ limit }) => limit === 'window_updates')
  const attacked = run(attack as Http2Attack, client)
  const meanwhile = await timeOf(() => expectEchoOf(good, CONTENT_BYTES))
  expect(await attacked).toBe(attack?.code)
  expect(meanwhile / alone).toBeLessThan(SLOWER)
})

async function timeOf(work: () => Promise<void>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

async function expectEchoOf(client: H2Client, bytes: number): Promise<void> {
  const { stream } = await client.connect(echo.authority)
  sendPattern(stream, bytes)
  expect((await hashOf(stream)).bytes).toBe(bytes)
}

it('attacks by strangers and users leave the memory of an endpoint small', { timeout: 120_000 }, async () => {
  await using endpoint = await EndpointProcess.start({ tables: OPEN_EDGE })
  await using good = await H2Client.open({ port: endpoint.port, ...USER })
  await expectEcho(good)
  const before = await endpoint.memory()
  for (const { attack, role } of CASES) {
    await using client = await openAs(role, endpoint.port)
    await run(attack, client)
  }
  await expectEcho(good)
  const { peak } = await endpoint.memory()
  expect(peak - before.now).toBeLessThan(GROWTH_LIMIT_MIB)
})

expectNothingLeftOpen()
