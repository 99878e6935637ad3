/** Sound requests mean the same to our reader and to that of node:http. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { duplexPair } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { ContentDecoder } from '../../../src/wire/http1/content.ts'
import { HeadReader } from '../../../src/wire/http1/head.ts'

interface Read {
  readonly method: string | undefined
  readonly path: string | undefined
  readonly headers: Readonly<Record<string, unknown>>
  readonly content: string
}

async function readByNode(bytes: Buffer): Promise<Read> {
  const server = createServer()
  const [client, accepted] = duplexPair()
  const asked = once(server, 'request') as Promise<[IncomingMessage, ServerResponse]>
  server.emit('connection', accepted)
  client.write(bytes)
  const [message] = await asked
  const content = (await buffer(message)).toString('latin1')
  client.destroy()
  accepted.destroy()
  return { method: message.method, path: message.url, headers: { ...message.headers }, content }
}

function readByUs(bytes: Buffer): Read {
  const reader = new HeadReader({ tunnels: true })
  const head = reader.push(bytes)
  if (head?.kind !== 'sound') throw new Error(`not sound: ${JSON.stringify(head)}`)
  let content = ''
  const decoder = new ContentDecoder(head.content)
  decoder.push(bytes.subarray(reader.consumed), (piece) => (content += piece.toString('latin1')))
  expect(decoder.state).toBe('done')
  return { method: head.method, path: head.target.path, headers: { ...head.headers }, content }
}

const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND']
const PATHS = ['/', '/a/b?c=d', '/%20', '/a/../b', '/?', '/~!$&()*+,;=:@']
const NAMES = [
  'accept',
  'X-One',
  'x-one',
  'Cookie',
  'user-agent',
  'Referer',
  'x-2',
  'Via',
  'proxy-authorization',
]
const VALUE = fc.stringMatching(/^(?:[!-~](?:[ -~]*[!-~])?)?$/)
const CONTENT = fc.string({ unit: 'binary-ascii', maxLength: 60 })

function encodeChunks(chunks: readonly string[]): string {
  const parts = chunks
    .filter((chunk) => chunk !== '')
    .map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`)
  return `${parts.join('')}0\r\n\r\n`
}

it('sound requests are read as by node:http', async () => {
  const framed = fc.oneof(
    fc.constant(['', '']),
    CONTENT.map((text) => [`Content-Length: ${text.length}\r\n`, text]),
    fc.array(CONTENT).map((chunks) => ['Transfer-Encoding: chunked\r\n', encodeChunks(chunks)]),
  )
  const field = fc.tuple(
    fc.constantFrom(...NAMES),
    fc.constantFrom(':', ': ', ':   '),
    VALUE,
    fc.constantFrom('', '  '),
  )
  const requests = fc
    .tuple(fc.constantFrom(...METHODS), fc.constantFrom(...PATHS), fc.array(field, { maxLength: 12 }), framed)
    .map(([method, path, fields, [framing = '', content = '']]) => {
      const lines = fields.map((parts) => `${parts.join('')}\r\n`).join('')
      return `${method} ${path} HTTP/1.1\r\nHost: a.test\r\n${lines}${framing}\r\n${content}`
    })
  const property = fc.asyncProperty(requests, async (text) => {
    const bytes = Buffer.from(text, 'latin1')
    expect(readByUs(bytes)).toEqual(await readByNode(bytes))
  })
  await fc.assert(property, { numRuns: 500 })
})
