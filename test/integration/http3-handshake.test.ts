/**
 * What QUIC handshakes and silence lead to over HTTP/3: the version that is spoken, what unknown versions and protocols
 * get, and the idle limit, which the library sets once for all connections (`docs/protocol.md`).
 */
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connectQuicAsync } from '@currentspace/http3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H3Client } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

const VERSION_1 = 1
/** A version reserved for being unknown (RFC 9000 section 15). */
const UNKNOWN_VERSION = 0x1a2a3a4a
/** RFC 9000 section 17.2.5. */
const RETRY_TYPE = 3

let endpoint: TestEndpoint

beforeAll(async () => {
  endpoint = await startEndpoint({ protocols: ['http2', 'quic'] })
})

afterAll(async () => {
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
})

/** An Initial without a token (RFC 9000 section 17.2.2): the part that a server looks at before it answers Retry. */
function initialPacket(version: number, sourceId: Buffer): Buffer {
  const head = Buffer.alloc(6)
  head[0] = 0xc3
  head.writeUInt32BE(version, 1)
  head[5] = 8
  const rest = Buffer.concat([head, randomBytes(8), Buffer.of(sourceId.length), sourceId, Buffer.of(0)])
  // At least 1200 bytes; the length of what follows is a varint of two bytes.
  const payload = randomBytes(1200 - rest.length - 2)
  return Buffer.concat([rest, Buffer.of(0x40 | (payload.length >> 8), payload.length & 0xff), payload])
}

/** The answer to the first of the packets that gets one. */
async function firstAnswer(packets: readonly Buffer[]) {
  const socket = createSocket('udp4')
  try {
    const answered = once(socket, 'message') as Promise<[Buffer]>
    for (const packet of packets) socket.send(packet, endpoint.port, '127.0.0.1')
    const [answer] = await answered
    const destinationBytes = answer[5] ?? 0
    return {
      version: answer.readUInt32BE(1),
      type: ((answer[0] ?? 0) >> 4) & 3,
      destinationId: answer.subarray(6, 6 + destinationBytes),
    }
  } finally {
    socket.close()
  }
}

describe('a first packet', () => {
  it('a first packet of version 1 is answered with Retry', async () => {
    const id = randomBytes(8)
    const answer = await firstAnswer([initialPacket(VERSION_1, id)])
    expect(answer).toEqual({ version: VERSION_1, type: RETRY_TYPE, destinationId: id })
  })

  it('a first packet of an unknown version gets silence, not Version Negotiation, as docs/camouflage.md says', async () => {
    const [unknown, known] = [randomBytes(8), randomBytes(8)]
    const packets = [initialPacket(UNKNOWN_VERSION, unknown), initialPacket(VERSION_1, known)]
    // One thread answers in order: if the first had been answered, that would have been before the second.
    expect((await firstAnswer(packets)).destinationId).toEqual(known)
    const page = await readFile(new URL('../../docs/camouflage.md', import.meta.url), 'utf8')
    expect(page).toContain('Version Negotiation')
  })
})

it('a protocol other than h3 is refused in the handshake', async () => {
  const address = { address: '127.0.0.1', port: endpoint.port, servername: 'vpn.endpoint' }
  await expect(
    connectQuicAsync(address, { rejectUnauthorized: false, alpn: ['hq-interop'] }),
  ).rejects.toThrow()
  expect((await endpoint.supervisor.stats())['sessions_total{HTTP3}']).toBeUndefined()
})

it('a session without a packet for the idle limit is over, and a request keeps it', async () => {
  // The shorter of the two ends' limits applies; this client sends nothing on its own.
  await using client = await H3Client.open(endpoint.port, { maxIdleTimeoutMs: 1500 })
  const { status } = await client.tunnel('_check')
  expect(status).toBe(407)
  await client.closed
  await endpoint.waitForStats((now) => now['client_sessions{HTTP3}'] === 0)
})

expectNothingLeftOpen()
