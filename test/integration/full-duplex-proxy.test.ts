/**
 * A POST to a proxied site used to deadlock, because the proxy waited for the answer before it sent the content. Here
 * content flows both ways at once, and each way stops when the other side does not take it.
 */
import { once } from 'node:events'
import http2 from 'node:http2'
import https from 'node:https'
import type { IncomingMessage, RequestListener } from 'node:http'
import { createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from 'vitest'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { cleanups, endStages, openProxyStage } from '../support/proxy-stage.ts'
import type { ResponseFields } from '../support/proxy-stage.ts'

afterEach(endStages)

const MIB = 1_048_576
const TOTAL = 100 * MIB

/** An origin that answers while it reads, byte for byte. */
const echo: RequestListener = (request, response) => {
  response.writeHead(200, { 'content-type': 'application/octet-stream' })
  request.pipe(response)
}

function stalls(): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), 500))
}

describe('both directions at once', () => {
  it('the reverse proxy echoes 100 MB over HTTP/2 with bounded memory', async () => {
    const { web } = await openProxyStage(echo)
    const session = http2.connect(`https://localhost:${web.http2Port}`, {
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    cleanups.push(() => session.destroy())
    const stream = session.request({ ':method': 'POST', ':path': '/echo' }, { endStream: false })
    stream.write(Buffer.from([1]))
    const [headers] = (await once(stream, 'response')) as [ResponseFields]
    // The answer has begun while hardly any of the request's content has been sent.
    expect(headers[':status']).toBe(200)
    await echoThrough(stream)
  })

  it('the reverse proxy echoes 100 MB over HTTP/1.1 with bounded memory', async () => {
    const { web } = await openProxyStage(echo)
    const request = https.request({
      port: web.http1Port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      method: 'POST',
    })
    request.setHeader('content-length', TOTAL + 1)
    request.write(Buffer.from([1]))
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    await echoThrough({
      write: (chunk) => request.write(chunk),
      once: (e, f) => request.once(e, f),
      end: () => request.end(),
      on: (e, f) => response.on(e, f),
    })
  })

  interface Both {
    write(chunk: Buffer): boolean
    once(event: 'drain', listener: () => void): unknown
    end(): unknown
    on(event: 'data' | 'end', listener: (chunk: Buffer) => void): unknown
  }

  /** One byte has been sent already. */
  async function echoThrough(both: Both): Promise<void> {
    const startRss = process.memoryUsage.rss()
    let received = 0
    let peak = 0
    const done = Promise.withResolvers<void>()
    both.on('data', (chunk) => {
      received += chunk.length
      peak = Math.max(peak, process.memoryUsage.rss())
    })
    both.on('end', () => done.resolve())
    const chunk = Buffer.alloc(MIB / 4, 7)
    let left = TOTAL
    const pump = (): void => {
      while (left > 0) {
        left -= chunk.length
        if (!both.write(chunk)) return void both.once('drain', pump)
      }
      both.end()
    }
    pump()
    await done.promise
    expect(received).toBe(TOTAL + 1)
    // Client, endpoint and origin share this process; anything that grows with the content would be 100 MiB for each.
    expect(peak - startRss).toBeLessThan(90 * MIB)
  }

  it('the reverse proxy delivers the answer before any content when the origin gives it so', async () => {
    const { web } = await openProxyStage((request, response) => {
      response.writeHead(200)
      response.write('early')
      void text(request).then((content) => response.end(` ${content}`))
    })
    const session = http2.connect(`https://localhost:${web.http2Port}`, {
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    cleanups.push(() => session.destroy())
    const stream = session.request({ ':method': 'POST', ':path': '/' }, { endStream: false })
    const [first] = (await once(stream, 'data')) as [Buffer]
    expect(first.toString()).toBe('early')
    stream.end('late')
    expect(await text(stream)).toBe(' late')
  })

  it('the reverse proxy stops reading a client whose origin does not read', async () => {
    const { web } = await openProxyStage(createServer((socket) => socket.pause()))
    const session = http2.connect(`https://localhost:${web.http2Port}`, {
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    cleanups.push(() => session.destroy())
    const stream = session.request({ ':method': 'POST', ':path': '/' }, { endStream: false })
    stream.on('error', () => {})
    const chunk = Buffer.alloc(MIB)
    let sent = 0
    while (sent < 64 * MIB) {
      sent += chunk.length
      if (stream.write(chunk)) continue
      const drained = await Promise.race([once(stream, 'drain').then(() => true), stalls()])
      if (!drained) break
    }
    // Socket buffers of loopback and the windows take some; the rest stays with the client.
    expect(sent).toBeLessThan(32 * MIB)
    stream.close(http2.constants.NGHTTP2_CANCEL)
  })

  it('the reverse proxy delivers the answer of an origin that stops reading early', async () => {
    const { web } = await openProxyStage((request, response) => {
      request.once('data', () => {
        response.writeHead(413, { connection: 'close' })
        response.end('too much')
      })
    })
    const session = http2.connect(`https://localhost:${web.http2Port}`, {
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    cleanups.push(() => session.destroy())
    const stream = session.request({ ':method': 'POST', ':path': '/' }, { endStream: false })
    const head = once(stream, 'response') as Promise<[ResponseFields]>
    stream.write(Buffer.alloc(1000))
    expect((await head)[0][':status']).toBe(413)
    expect(await text(stream)).toBe('too much')
  })
})

expectNothingLeftOpen()
