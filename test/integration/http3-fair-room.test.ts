/**
 * Clients without credentials that let the endpoint send next to nothing. Sessions with stream windows of 1000 bytes,
 * each with many requests for a large file that were made again as soon as they were reset, used to hold all the room
 * that the HTTP/3 library has for unsent bytes: the tunnels of users stood still as long as that went on.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { USER, startEndpoint } from '../support/endpoint.ts'
import { H3Client, answerOf } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { openTcpTarget } from '../support/targets.ts'

const MIB = 1024 * 1024
const FILE_BYTES = 8 * MIB
const DOWNLOAD_BYTES = 32 * MIB
const SESSIONS = 8
const STREAMS = 40
const TINY_WINDOW_BYTES = 1000
const AUTHORIZATION = `Basic ${Buffer.from(`${USER.username}:${USER.password}`).toString('base64')}`
const REQUEST = { ':method': 'GET', ':scheme': 'https', ':authority': 'vpn.endpoint', ':path': '/big.bin' }

test('a download of a user completes while strangers read nothing', { timeout: 120_000 }, async () => {
  const site = await mkdtemp(join(tmpdir(), 'culvert-site-'))
  await writeFile(join(site, 'big.bin'), Buffer.alloc(FILE_BYTES, 'culvert'))
  const strangers: H3Client[] = []
  let ended = false
  try {
    await using endpoint = await startEndpoint({
      protocols: ['http1', 'quic'],
      tables: `[culvert.decoy]\nroot = "${site}"\n`,
    })
    await using giver = await openTcpTarget((socket) => {
      socket.once('data', () => socket.end(Buffer.alloc(DOWNLOAD_BYTES, 'culvert')))
    })
    for (let count = 0; count < SESSIONS; count++) {
      const stranger = await H3Client.open(endpoint.port, {
        runtimeMode: 'portable',
        initialMaxStreamDataBidiLocal: TINY_WINDOW_BYTES,
      })
      strangers.push(stranger)
      const ask = (): Promise<unknown> => {
        const stream = stranger.request(REQUEST, { endStream: true })
        stream.on('error', () => {
          if (!ended) setImmediate(() => void ask())
        })
        return answerOf(stream).catch(() => {})
      }
      await Promise.all(Array.from({ length: STREAMS }, ask))
    }
    await using user = await H3Client.open(endpoint.port, { runtimeMode: 'portable' })
    const { status, stream } = await user.tunnel(giver.authority, { 'proxy-authorization': AUTHORIZATION })
    expect(status).toBe(200)
    stream.end('x')
    let bytes = 0
    for await (const chunk of stream) bytes += (chunk as Buffer).length
    expect(bytes).toBe(DOWNLOAD_BYTES)
    // The strangers' sessions are still there.
    const stats = await endpoint.supervisor.stats()
    expect(stats['client_sessions{HTTP3}']).toBe(SESSIONS + 1)
    ended = true
    await Promise.all(strangers.map((stranger) => stranger[Symbol.asyncDispose]()))
  } finally {
    ended = true
    await rm(site, { recursive: true })
  }
})

expectNothingLeftOpen()
