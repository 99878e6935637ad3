/** Bytes that are not TLS on the TLS port: answered as nginx would, bounded in time and size. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Counters } from '../../src/counters.ts'
import { answerPlainHttp } from '../../src/web/nginx/plain-http.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hasNginx, startNginx } from '../support/nginx.ts'

let clock: FakeClock
let server: Server
let port: number
const accepted = new Set<Socket>()

beforeEach(async () => {
  clock = new FakeClock()
  server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.add(socket)
    socket.once('close', () => accepted.delete(socket))
    answerPlainHttp(socket, { headTimeoutMs: 60_000 }, { clock, counters: new Counters() })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})

afterEach(async () => {
  server.close()
  for (const socket of accepted) socket.destroy()
  await Promise.all([...accepted].map((socket) => once(socket, 'close')))
  expect(clock.pending).toBe(0)
})

async function say(to: number, text: string): Promise<string> {
  const socket = connect(to, '127.0.0.1')
  socket.write(Buffer.from(text, 'latin1'))
  return (await buffer(socket)).toString('latin1').replace(/Date: .*\r\n/, '')
}

const QUESTIONS = [
  'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'HEAD / HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: Chrome/140.0\r\n\r\n',
  'GET /\r\n',
  'GET / HTTP/2.0\r\n\r\n',
  'GET / HTTP/1.1\r\n\r\n',
  'CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n',
  'TRACE / HTTP/1.1\r\nHost: x\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'SSH-2.0-OpenSSH_9.9\r\n',
  '\x05\x01\x00',
  `GET /${'a'.repeat(9000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(9000)}\r\n\r\n`,
]

describe('plain HTTP', () => {
  it.skipIf(!hasNginx)(
    `plain HTTP is answered byte for byte like nginx${hasNginx ? '' : ' (skipped: no nginx here)'}`,
    async () => {
      const nginx = await startNginx('/usr/share/nginx')
      try {
        for (const question of QUESTIONS)
          expect(await say(port, question)).toBe(await say(nginx.port, question))
      } finally {
        await nginx[Symbol.asyncDispose]()
      }
    },
  )

  it('plain HTTP waits for the whole head and ends without a word when it does not come', async () => {
    const socket = connect(port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHo')
    const [peer] = (await once(server, 'connection')) as [Socket]
    await once(peer, 'data')
    const content = buffer(socket)
    clock.advance(59_999)
    expect(peer.destroyed).toBe(false)
    clock.advance(1)
    expect((await content).length).toBe(0)
  })

  it('plain HTTP holds the connection for content that was announced, not for ever', async () => {
    const socket = connect(port, '127.0.0.1')
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n')
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    expect(chunk.toString()).toMatch(/^HTTP\/1\.1 400 /)
    expect(accepted.size).toBe(1)
    clock.advance(5000)
    await once(socket, 'close')
  })
})

expectNothingLeftOpen()
