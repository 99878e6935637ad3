/** The heads that nginx writes, written again: the same bytes, with its choice of indexes and of Huffman coding. */
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HpackDecoder } from '../../src/wire/http2/hpack-decoder.ts'
import { encodeHead } from '../../src/wire/http2/hpack-encoder.ts'
import type { HeadOptions } from '../../src/wire/http2/hpack-encoder.ts'
import { END_HEADERS, END_STREAM, PREFACE, frame, headerBlock } from '../support/http2-frames.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hasNginx, startNginx } from '../support/nginx.ts'
import type { Nginx } from '../support/nginx.ts'
import { RawHttp2 } from '../support/raw-http2.ts'

/** SETTINGS_HEADER_TABLE_SIZE 4096, which is also the size without it. */
const TABLE_SIZE = Buffer.from('000100001000', 'hex')

let root: string
let nginx: Nginx
let origin: Server

beforeAll(async () => {
  if (!hasNginx) return
  root = await mkdtemp(join(tmpdir(), 'culvert-hpack-'))
  await writeFile(join(root, 'index.html'), 'hello')
  origin = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/plain')
    response.setHeader('Set-Cookie', ['a=1', 'b=2'])
    response.setHeader('Last-Modified', 'Wed, 04 Mar 2026 05:06:07 GMT')
    response.setHeader('X-Long', 'long '.repeat(300).trim())
    response.setHeader('Vary', 'Accept-Encoding')
    response.setHeader('ETag', '"é"')
    response.end('ok')
  }).listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as AddressInfo
  nginx = await startNginx(
    root,
    `location /away { return 302 https://example.org/there; } location = /none { return 204; } location = /odd { return 418; }
     location /origin { proxy_pass http://127.0.0.1:${port}; }`,
  )
})

afterAll(async () => {
  if (!hasNginx) return
  await nginx[Symbol.asyncDispose]()
  origin.closeAllConnections()
  await new Promise((resolve) => origin.close(resolve))
  await rm(root, { recursive: true })
  expectNothingLeftOpen()
})

/** The head blocks of nginx's answers to these, in one connection. */
async function headsOf(paths: readonly string[], settings: Buffer): Promise<Buffer[]> {
  await using client = await RawHttp2.connect(nginx.port)
  client.send(PREFACE, frame('SETTINGS', { payload: settings }))
  const heads: Buffer[] = []
  for (const [at, path] of paths.entries()) {
    const stream = 2 * at + 1
    const payload = headerBlock([
      [':method', 'GET'],
      [':scheme', 'https'],
      [':authority', 'localhost'],
      [':path', path],
    ])
    client.send(frame('HEADERS', { stream, flags: END_HEADERS | END_STREAM, payload }))
    const head = await client.frame((each) => each.name === 'HEADERS' && each.stream === stream)
    expect(head.flags & END_HEADERS).toBe(END_HEADERS)
    heads.push(head.payload)
  }
  return heads
}

/** Reads the block, and writes what it says. */
function writtenAgain(decoder: HpackDecoder, block: Buffer, options: HeadOptions): Buffer {
  const fields: [string, string][] = []
  decoder.decode(block, { onField: (name, value) => void fields.push([name, value]) })
  const [[, status] = ['', '']] = fields
  return encodeHead(Number(status), fields.slice(1), options)
}

describe.skipIf(!hasNginx)(`heads as nginx writes them${hasNginx ? '' : ' (skipped: no nginx here)'}`, () => {
  const paths = ['/', '/missing', '/away', '/none', '/odd', '/index.html', '/%zz', '/origin']

  it.each([
    ['without SETTINGS_HEADER_TABLE_SIZE', Buffer.alloc(0)],
    ['with SETTINGS_HEADER_TABLE_SIZE', TABLE_SIZE],
  ])('nginx’s heads, written again, are the same bytes: %s', async (_, settings) => {
    const heads = await headsOf(paths, settings)
    const decoder = new HpackDecoder(4096)
    for (const [at, head] of heads.entries()) {
      const options = { tableUpdate: at === 0 && settings.length > 0, fromOrigin: paths[at] === '/origin' }
      expect(writtenAgain(decoder, head, options).toString('hex')).toBe(head.toString('hex'))
    }
  })
})

expectNothingLeftOpen()
