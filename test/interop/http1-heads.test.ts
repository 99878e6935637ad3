/**
 * Every head that is told in the table of `test/support/http1-heads.ts`, and many that are put together at random, get
 * from us byte for byte what nginx answers: both without TLS, where nginx reads the whole head before it says that it
 * wants TLS.
 */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { answerPlainHttp } from '../../src/web/nginx/plain-http.ts'
import { HEAD_CASES } from '../support/http1-heads.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hasNginx, startNginx } from '../support/nginx.ts'
import type { Nginx } from '../support/nginx.ts'

const FRAGMENTS = [
  ['GET', 'HEAD', 'POST', 'CONNECT', 'G_-', ' ', '  ', '/', '/a', '//', '/..', '%2e', '%', '?', '#', '*'],
  ['http', '://', 'a', 'A.b', '_', ':', '80', '[::1]', ' HTTP/1.1', ' HTTP/1.0', ' HTTP/', '1.', '2.0', '0'],
  [
    '\r\n',
    '\n',
    '\r',
    '\r\nHost: x\r\n',
    'Host',
    ': ',
    'Content-Length: 0',
    'Transfer-Encoding: ',
    'chunked',
  ],
  [
    'User-Agent: Chrome/1',
    'Connection: close',
    'Expect',
    '\0',
    '\t',
    '\u0001',
    '\u007f',
    '\u00e9',
    '\r\n\r\n',
  ],
].flat()

/** Nothing that nginx would wait for: an answer comes to whatever is followed by two empty lines. */
const HEADS = fc
  .array(fc.constantFrom(...FRAGMENTS), { maxLength: 14 })
  .map((parts) => `${parts.join('')}\r\n\r\n`)
const SEEDED = fc.tuple(fc.constantFrom('', 'GET / HTTP/1.1\r\nHost: x\r\n', 'GET /', 'GET http://'), HEADS)

describe.skipIf(!hasNginx)(`heads${hasNginx ? '' : ' (skipped: no nginx here)'}`, () => {
  let nginx: Nginx
  let server: Server
  let port: number
  const accepted = new Set<Socket>()

  beforeAll(async () => {
    nginx = await startNginx('/usr/share/nginx')
    server = createServer({ allowHalfOpen: true }, (socket) => {
      accepted.add(socket)
      socket.once('close', () => accepted.delete(socket))
      answerPlainHttp(socket, { headTimeoutMs: 60_000 }, { clock: systemClock, counters: new Counters() })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  })

  afterAll(async () => {
    for (const socket of accepted) socket.destroy()
    server.close()
    await once(server, 'close')
    await nginx[Symbol.asyncDispose]()
  })

  /** The first message without its date; it is enough to know that a server wants more. */
  async function say(to: number, text: string): Promise<string> {
    const socket = connect(to, '127.0.0.1')
    socket.on('error', () => {})
    socket.end(Buffer.from(text, 'latin1'))
    let answer = ''
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')))
    await once(socket, 'close')
    return answer.replace(/Date: .*\r\n/, '')
  }

  it('each head of the table is answered as by nginx', async () => {
    for (const [text, verdict] of HEAD_CASES) {
      const [theirs, ours] = await Promise.all([say(nginx.port, text), say(port, text)])
      expect(ours, text.slice(0, 200)).toBe(theirs)
      const title = /<title>(\d+) (.*)<\/title>/.exec(theirs)
      const said =
        title === null
          ? 'more'
          : title[2]?.startsWith('The plain')
            ? 'sound'
            : title[2]?.startsWith('Request Header')
              ? 'fields_too_large'
              : Number(title[1])
      expect(said, text.slice(0, 200)).toBe(verdict)
    }
  }, 60_000)

  it('heads put together at random are answered as by nginx', async () => {
    const property = fc.asyncProperty(SEEDED, async ([start, rest]) => {
      const text = start + rest
      const [theirs, ours] = await Promise.all([say(nginx.port, text), say(port, text)])
      expect(ours).toBe(theirs)
    })
    // Looks like an SSLv2 hello that is longer than OpenSSL reads.
    const examples: [[string, string]][] = [[['', 'é#\u0001\r\n\r\n']]]
    await fc.assert(property, { examples, numRuns: Number(process.env['CULVERT_HEADS'] ?? 1500) })
  }, 120_000)
})

expectNothingLeftOpen()
