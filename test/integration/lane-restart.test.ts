/**
 * A lane that dies: its sessions are lost and everything that they held is free again, the other lanes never notice, and
 * the lane is started again. HTTP/3 used to forbid that: its library counts unread events of the whole process, those of
 * dead threads too, and of six clients of a second thread two were stuck.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { OPEN_EDGE, USER, startEndpoint } from '../support/endpoint.ts'
import type { EndpointOptions, TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { H3Client } from '../support/h3-client.ts'
import { LOOPING_LANE, MORTAL_LANE, killLane, loopLane } from '../support/lane-killer.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openEcho, openTcpTarget } from '../support/targets.ts'

const SESSIONS = 16
const MIB = 1024 * 1024
const AUTHORIZED = { 'proxy-authorization': encodeBasicAuth(USER.username, USER.password) }

function start(options: EndpointOptions = {}): Promise<TestEndpoint> {
  return startEndpoint({ lanes: 2, laneThread: MORTAL_LANE, tables: OPEN_EDGE, ...options })
}

interface Tunnel {
  readonly client: H2Client
  ask(text: string): Promise<string>
}

async function openTunnel(port: number, authority: string): Promise<Tunnel> {
  const client = await H2Client.open({ port, ...USER })
  const { status, stream } = await client.connect(authority)
  expect(status).toBe(200)
  stream.on('error', () => {})
  const ask = async (text: string): Promise<string> => {
    stream.write(text)
    const [chunk] = (await once(stream, 'data')) as [Buffer]
    return chunk.toString()
  }
  return { client, ask }
}

async function kill(endpoint: TestEndpoint, lane: number): Promise<void> {
  const again = endpoint.waitForLog((line) => line['msg'] === 'the lane runs again' && line['lane'] === lane)
  killLane(lane)
  await again
}

/** Nobody noticed: its clients waited, and so did everybody who asked for figures or a reload. */
it('a lane that is caught in an endless loop is started again, and the other goes on', async () => {
  await using echo = await openEcho()
  await using endpoint = await start({
    laneThread: LOOPING_LANE,
    credentials: `[[client]]\nusername = "premium"\npassword = 'p:w"x'\nmax_http2_conns = ${SESSIONS}\n`,
  })
  const tunnels = await Promise.all(
    Array.from({ length: SESSIONS }, () => openTunnel(endpoint.port, echo.authority)),
  )
  await loopLane(1)
  const question = endpoint.supervisor.stats()
  await expect
    .poll(() => endpoint.logs.map(({ msg }) => msg), { timeout: 100_000 })
    .toContain('the lane runs again')
  expect((await question)['client_sessions{HTTP2}']).toBeLessThan(SESSIONS)
  expect(endpoint.logs).toContainEqual(expect.objectContaining({ level: 50, lane: 1, code: 'lane_silent' }))
  const living = tunnels.filter(({ client }) => !client.socket.destroyed)
  for (const tunnel of living) expect(await tunnel.ask('still here')).toBe('still here')
  const fresh = await Promise.all(
    Array.from({ length: SESSIONS - living.length }, () => openTunnel(endpoint.port, echo.authority)),
  )
  expect((await endpoint.supervisor.stats())['lanes_silent']).toBe(1)
  for (const { client } of [...tunnels, ...fresh]) await client[Symbol.asyncDispose]()
  await expect.poll(() => echo.sockets.size).toBe(0)
}, 150_000)

describe('when one of two lanes dies', () => {
  it('when one of two lanes dies, the sessions of the other go on, and all places are free again', async () => {
    await using echo = await openEcho()
    await using endpoint = await start({
      credentials: `[[client]]\nusername = "premium"\npassword = 'p:w"x'\nmax_http2_conns = ${SESSIONS}\n`,
    })
    const tunnels = await Promise.all(
      Array.from({ length: SESSIONS }, () => openTunnel(endpoint.port, echo.authority)),
    )
    const before = await endpoint.supervisor.stats()
    await kill(endpoint, 1)
    const living = tunnels.filter(({ client }) => !client.socket.destroyed)
    for (const tunnel of living) expect(await tunnel.ask('still here')).toBe('still here')
    const after = await endpoint.waitForStats((stats) => stats['client_sessions{HTTP2}'] === living.length)
    expect(after['sessions_total{HTTP2}']).toBe(before['sessions_total{HTTP2}'])
    const lost = SESSIONS - living.length
    // Sessions are spread by chance: all of 16 in one lane would be one in 2^15.
    expect(lost).toBeGreaterThan(0)
    expect(lost).toBeLessThan(SESSIONS)
    const fresh = await Promise.all(
      Array.from({ length: lost }, () => openTunnel(endpoint.port, echo.authority)),
    )
    const tooMany = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await tooMany.connect('_check')).status).toBe(429)
    for (const { client } of [...tunnels, ...fresh]) await client[Symbol.asyncDispose]()
    await tooMany[Symbol.asyncDispose]()
    await expect.poll(() => echo.sockets.size).toBe(0)
    expect(endpoint.logs).toContainEqual(
      expect.objectContaining({
        level: 50,
        lane: 1,
        code: 'ERR_KILLED',
        msg: expect.stringContaining('failed'),
      }),
    )
  })

  it('when one of two lanes dies, a reload at the same time still reaches all lanes or none', async () => {
    await using endpoint = await start()
    for (const user of ['one', 'two']) {
      await writeFile(
        join(endpoint.directory, 'credentials.toml'),
        `[[client]]\nusername = "${user}"\npassword = "p"\n`,
      )
      const again = endpoint.waitForLog(({ msg, lane }) => msg === 'the lane runs again' && lane === 1)
      killLane(1)
      const applied = await endpoint.supervisor.reload().then(
        () => true,
        () => false,
      )
      await again
      endpoint.logs.length = 0
      const credentials = { 'proxy-authorization': encodeBasicAuth(user, 'p') }
      const clients = await Promise.all(
        Array.from({ length: SESSIONS }, () => H2Client.open({ port: endpoint.port })),
      )
      const answers = await Promise.all(clients.map((client) => client.connect('_check', credentials)))
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([applied ? 200 : 407]))
      for (const client of clients) await client[Symbol.asyncDispose]()
    }
  })

  it('when the lane with HTTP/3 dies, its clients connect again, and uploads are not stuck', async () => {
    let received = 0
    await using sink = await openTcpTarget((socket) => {
      socket.on('data', (chunk: Buffer) => (received += chunk.length))
      socket.on('end', () => socket.end())
    })
    await using endpoint = await start({ protocols: ['http2', 'quic'] })
    const upload = async (sessions: number, mib: number): Promise<void> => {
      received = 0
      const clients = await Promise.all(Array.from({ length: sessions }, () => H3Client.open(endpoint.port)))
      const streams = await Promise.all(clients.map((client) => client.tunnel(sink.authority, AUTHORIZED)))
      for (const { stream } of streams) {
        stream.resume()
        for (let sent = 0; sent < mib; sent++)
          if (!stream.write(Buffer.alloc(MIB))) await once(stream, 'drain')
        stream.end()
      }
      await expect.poll(() => received, { timeout: 60_000 }).toBe(sessions * mib * MIB)
      for (const client of clients) await client[Symbol.asyncDispose]()
    }
    // As much as leaves all the events unread that a thread may leave: 3840 of up to 64 KiB.
    await upload(6, 45)
    await kill(endpoint, 0)
    await upload(6, 10)
  }, 120_000)
})

expectNothingLeftOpen()
