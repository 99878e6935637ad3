/**
 * Many downloads at once over HTTP/3. They used to stop forever, without any loss: every stream held a window too small
 * to ask the library what had become of it, all windows together held all the room there was, and a stream that was
 * refused for want of room did not ask either. One session with 64 downloads of 1 MiB finished four of them.
 */
import type { ConnectOptions } from '@currentspace/http3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H3Client } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openTcpTarget } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'
import { UdpRelay } from '../support/udp-relay.ts'

const MIB = 1024 * 1024
/** Loopback would carry more than ten times that. */
const ETHERNET_PAYLOAD_BYTES = 1472
const AUTHORIZATION = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`

/** Of the clients whose last word may be lost. */
const IDLE_MS = 8000

let endpoint: TestEndpoint
/** Gives as many MiB as the first byte says and ends. */
let giver: TcpTarget

beforeAll(async () => {
  endpoint = await startEndpoint({ protocols: ['http1', 'quic'] })
  giver = await openTcpTarget((socket) => {
    socket.once('data', ([mebibytes = 0]: Buffer) => socket.end(Buffer.alloc(mebibytes * MIB, 'culvert')))
  })
})

afterAll(async () => {
  const stats = await endpoint.waitUntilFree()
  expect(stats.http3_stuck_streams).toBeUndefined()
  await giver[Symbol.asyncDispose]()
  await endpoint[Symbol.asyncDispose]()
})

async function download(client: H3Client, mebibytes: number): Promise<number> {
  const { status, stream } = await client.tunnel(giver.authority, { 'proxy-authorization': AUTHORIZATION })
  expect(status).toBe(200)
  stream.end(Buffer.of(mebibytes))
  let bytes = 0
  for await (const chunk of stream) bytes += (chunk as Buffer).length
  return bytes
}

/** Opens `sessions`, with so many streams each, all at once. Gives the sessions. */
async function downloadAll(
  port: number,
  {
    sessions,
    streams,
    mebibytes,
    options,
  }: { sessions: number; streams: number; mebibytes: number; options?: ConnectOptions },
): Promise<H3Client[]> {
  const clients: H3Client[] = []
  for (let count = 0; count < sessions; count++) {
    clients.push(await H3Client.open(port, { runtimeMode: 'portable', ...options }))
  }
  const downloads = clients.flatMap((client) =>
    Array.from({ length: streams }, () => download(client, mebibytes)),
  )
  const sizes = await Promise.all(downloads)
  expect(sizes).toEqual(sizes.map(() => mebibytes * MIB))
  return clients
}

async function closeAll(clients: readonly H3Client[]): Promise<void> {
  await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()))
}

describe('parallel downloads all complete', { timeout: 120_000 }, () => {
  test('64 parallel downloads of 1 MiB in one session all complete', async () => {
    await closeAll(await downloadAll(endpoint.port, { sessions: 1, streams: 64, mebibytes: 1 }))
  })

  test('4 parallel downloads of 2 MiB in each of 14 sessions all complete', async () => {
    await closeAll(await downloadAll(endpoint.port, { sessions: 14, streams: 4, mebibytes: 2 }))
  })

  test('4 parallel downloads of 1 MiB in each of 20 sessions all complete with 1 % loss and 25 ms of delay each way', async () => {
    await using relay = await UdpRelay.open(endpoint.port, { delayMs: 25 })
    let count = 0
    relay.filter = (_direction, { length }) => length <= ETHERNET_PAYLOAD_BYTES && ++count % 100 > 0
    const options = { maxIdleTimeoutMs: IDLE_MS }
    const clients = await downloadAll(relay.port, { sessions: 20, streams: 4, mebibytes: 1, options })
    // The end of a connection is announced only once, and a busy machine loses datagrams as well: what is not heard of
    // ends with the idle limit.
    relay.filter = undefined
    await closeAll(clients)
    await endpoint.waitUntilFree(3 * IDLE_MS)
  })
})

expectNothingLeftOpen()
