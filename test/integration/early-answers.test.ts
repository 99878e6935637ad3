/**
 * Origins that do not do what a proxy hopes for. A GET whose client forgot to end its stream was announced to the
 * origin with chunks; an origin that answered as soon as it had the head, and then closed, got five bytes on a closed
 * socket and reset the connection, and the client lost most of the response. Answers to a POST that the origin never
 * read were lost in the same way, because a failed write ended the reading too. Through the whole endpoint: reverse
 * proxy, decoy origin and forward proxy, over each HTTP version.
 */
import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { AUTHORIZED, FORWARD_CLIENTS } from '../support/forward-client.ts'
import type { ForwardExchange, ForwardQuery } from '../support/forward-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hashOf, hashOfPattern, patternedBytes } from '../support/patterned-bytes.ts'
import { readHead, unacknowledged } from '../support/raw-origin.ts'
import { readAll } from '../support/reading.ts'
import { settled } from '../support/settled.ts'
import { openTcpTarget } from '../support/targets.ts'
import type { TcpTarget } from '../support/targets.ts'

const MIB = 1_048_576
const WAYS = ['reverse proxy', 'decoy origin', 'forward proxy'] as const
const MATRIX = FORWARD_CLIENTS.flatMap((client) => WAYS.map((way) => [way, ...client] as const))

function response(bytes: number, fields = ''): Buffer {
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n${fields}\r\n`
  return Buffer.concat([Buffer.from(head), patternedBytes(0, bytes)])
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2))

describe.each(MATRIX)('an origin behind a proxy over %s', (way, protocol, openClient) => {
  let endpoint: TestEndpoint
  let origin: TcpTarget
  let onSocket: (socket: Socket) => Promise<void> | void
  beforeAll(async () => {
    origin = await openTcpTarget((socket) => void onSocket(socket))
    endpoint = await startEndpoint({
      protocols: ['http1', 'http2', 'quic'],
      tables:
        `[reverse_proxy]\nserver_address = "${origin.authority}"\npath_mask = "/app"\n` +
        `[culvert.decoy]\norigin = "http://${origin.authority}"\n`,
    })
  })
  afterAll(async () => {
    await settled(() => origin.sockets.size === 0)
    await endpoint.waitUntilFree()
    await endpoint[Symbol.asyncDispose]()
    await origin[Symbol.asyncDispose]()
  })

  function queryFor(query: Partial<ForwardQuery>): ForwardQuery {
    if (way !== 'forward proxy')
      return { authority: 'vpn.endpoint', path: way === 'reverse proxy' ? '/app/x' : '/x', ...query }
    return { authority: origin.authority, ...query, headers: { ...AUTHORIZED, ...query.headers } }
  }

  async function withRequest(
    query: Partial<ForwardQuery>,
    work: (exchange: ForwardExchange) => Promise<void>,
  ): Promise<void> {
    await using client = await openClient(endpoint.port)
    await work(client.send(queryFor(query)))
  }

  // Over HTTP/1.1 a request without a length has no content: there is nothing to be silent about.
  if (protocol !== 'HTTP1') {
    it('an origin behind a proxy gets a GET whose stream stays open as one without content', async () => {
      const heads: string[] = []
      onSocket = async (socket) => {
        heads.push(await readHead(socket))
        socket.end(response(MIB), () => socket.destroy())
      }
      await withRequest({ hasContent: true }, async ({ answer, content }) => {
        const { status, body } = await answer
        expect(status).toBe(200)
        // Only now does it end its stream.
        content.end()
        expect(await hashOf(body)).toEqual({ bytes: MIB, hash: hashOfPattern(MIB) })
      })
      expect(heads[0]).toMatch(/^GET /)
      expect(heads[0]).not.toMatch(/transfer-encoding|content-length/i)
    })

    it('an origin behind a proxy gets the content of a GET that a field announces', async () => {
      onSocket = async (socket) => {
        const head = await readHead(socket)
        expect(head).toMatch(/transfer-encoding: chunked/i)
        socket.end(response(3))
        socket.resume()
      }
      const headers = { 'content-type': 'application/json' }
      await withRequest({ hasContent: true, headers }, async ({ answer, content }) => {
        const { status, body } = await answer
        content.end('{}')
        expect(status).toBe(200)
        expect((await hashOf(body)).bytes).toBe(3)
      })
    })
  }

  it('an origin behind a proxy that answers a POST on its head, reads nothing and keeps the connection, is asked for no more', async () => {
    onSocket = async (socket) => {
      await readHead(socket)
      socket.write(response(MIB))
    }
    await withRequest({ method: 'POST', hasContent: true }, async ({ answer, content }) => {
      content.write('some of it')
      const { body } = await answer
      expect((await hashOf(body)).hash).toBe(hashOfPattern(MIB))
      for (const socket of origin.sockets) socket.resume()
      await settled(() => [...origin.sockets].every((socket) => socket.readableEnded))
    })
    for (const socket of origin.sockets) socket.end()
  })

  it('an origin behind a proxy that resets a POST after its response has delivered it', async () => {
    const total = protocol === 'HTTP1' ? 8 * MIB : MIB
    const arrived = { all: false }
    const reset = Promise.withResolvers<void>()
    const mayReset = Promise.withResolvers<void>()
    onSocket = async (socket) => {
      await readHead(socket)
      socket.write(response(total))
      while (!socket.destroyed && (socket.writableLength > 0 || (await unacknowledged(socket)) > 0))
        await pause()
      arrived.all = true
      await mayReset.promise
      if (socket.closed) return reset.resolve()
      socket.once('close', () => reset.resolve())
      socket.resetAndDestroy()
    }
    await withRequest({ method: 'POST', hasContent: true }, async ({ answer, content }) => {
      content.on('error', () => {})
      content.write('some of it')
      const { body } = await answer
      const chunks: Buffer[] = []
      // The HTTP/3 library reads ahead without limit, and loses that data when the stream closes before it is read.
      const atOnce = protocol === 'HTTP3' ? readAll(body) : undefined
      if (atOnce === undefined) body.pause()
      // Reads only until the endpoint's machine has it all, so that much of it waits for the endpoint to read it.
      while (!arrived.all) {
        if (atOnce !== undefined) {
          await pause()
          continue
        }
        const chunk = (body.read(protocol === 'HTTP1' ? 65_536 : 8192) ?? body.read()) as Buffer | null
        if (chunk !== null) chunks.push(chunk)
        await pause()
      }
      mayReset.resolve()
      await reset.promise
      for (let turn = 0; turn < 10 && content.writable; turn++) {
        content.write(Buffer.alloc(1000))
        await pause()
      }
      chunks.push(await (atOnce ?? readAll(body)))
      expect(Buffer.concat(chunks).equals(patternedBytes(0, total))).toBe(true)
    })
  })

  it('an origin behind a proxy that breaks off in the middle is named in the log', async () => {
    // Figures never overtake what was logged before them.
    await endpoint.supervisor.stats()
    endpoint.logs.length = 0
    onSocket = async (socket) => {
      await readHead(socket)
      socket.write(response(100).subarray(0, -50), () => socket.resetAndDestroy())
    }
    await withRequest({}, async ({ answer }) => {
      await expect(answer.then(({ body }) => hashOf(body))).rejects.toThrow()
    })
    const line = await endpoint.waitForLog((entry) => String(entry['msg']).includes('was cut'))
    expect(line['reason']).toMatch(/ECONNRESET|before the end/)
  })

  it('an origin behind a proxy that ends a response without a length by a reset is not taken for complete', async () => {
    onSocket = async (socket) => {
      await readHead(socket)
      socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf', () => socket.resetAndDestroy())
    }
    await withRequest({}, async ({ answer }) => {
      await expect(answer.then(({ body }) => hashOf(body))).rejects.toThrow()
    })
  })
})

expectNothingLeftOpen()
