/**
 * Both ways against a client of `node:http2`, that is, nghttp2's HPACK: its dynamic table, its choice of Huffman coding,
 * its never-indexed fields and its changes of the table's size.
 */
import { once } from 'node:events'
import { connect, sensitiveHeaders } from 'node:http2'
import type { ClientHttp2Session, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import { duplexPair } from 'node:stream'
import type { Duplex } from 'node:stream'
import * as fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { HpackDecoder } from '../../../../src/wire/http2/hpack-decoder.ts'
import { encodeHead, encodeFields } from '../../../../src/wire/http2/hpack-encoder.ts'
import type { EncodedFields } from '../../../../src/wire/http2/hpack-encoder.ts'
import { ACK, END_HEADERS, END_STREAM, PREFACE, frame, frameName } from '../../../support/http2-frames.ts'
import { expectNothingLeftOpen } from '../../../support/leak-check.ts'

const FRAME_HEADER_BYTES = 9
const TABLE_SIZE_SETTING = 1
const BASIC = `Basic ${Buffer.from('user:correct horse battery staple').toString('base64')}`

interface Answer {
  readonly status: number
  readonly fields: EncodedFields
  readonly trailers: EncodedFields
}

/** A server of a few lines: decodes each head, and answers with the next of `answers`. */
class SmallServer {
  readonly requests: Record<string, string>[] = []
  readonly #end: Duplex
  readonly #decoder: HpackDecoder
  readonly #answers: Answer[]
  #rest = Buffer.alloc(0)
  #greeted = false
  #tableUpdate = false

  constructor(end: Duplex, tableBytes: number, answers: readonly Answer[]) {
    this.#end = end
    this.#decoder = new HpackDecoder(tableBytes)
    this.#answers = [...answers]
    const setting = Buffer.alloc(6)
    setting.writeUInt16BE(TABLE_SIZE_SETTING)
    setting.writeUInt32BE(tableBytes, 2)
    end.write(frame('SETTINGS', { payload: setting }))
    end.on('data', (chunk: Buffer) => this.#onData(chunk))
  }

  #onData(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    if (!this.#greeted) {
      if (this.#rest.length < PREFACE.length) return
      this.#rest = this.#rest.subarray(PREFACE.length)
      this.#greeted = true
    }
    while (this.#rest.length >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + this.#rest.readUIntBE(0, 3)
      if (this.#rest.length < end) break
      const [type, flags, stream] = [this.#rest[3] ?? 0, this.#rest[4] ?? 0, this.#rest.readUInt32BE(5)]
      this.#onFrame(frameName(type), flags, stream, this.#rest.subarray(FRAME_HEADER_BYTES, end))
      this.#rest = this.#rest.subarray(end)
    }
  }

  #onFrame(name: string | undefined, flags: number, stream: number, payload: Buffer): void {
    if (name === 'SETTINGS' && flags !== ACK) {
      for (let at = 0; at < payload.length; at += 6) {
        this.#tableUpdate ||= payload.readUInt16BE(at) === TABLE_SIZE_SETTING
      }
      this.#end.write(frame('SETTINGS', { flags: ACK }))
    }
    if (name !== 'HEADERS') return
    // Neither continued, nor padded, nor with a priority.
    expect(flags).toBe(END_HEADERS | END_STREAM)
    const request: Record<string, string> = {}
    this.#decoder.decode(payload, { onField: (key, value) => (request[key] = value) })
    this.requests.push(request)
    this.#answer(stream)
  }

  #answer(stream: number): void {
    const { status, fields, trailers } = this.#answers.shift() ?? { status: 500, fields: [], trailers: [] }
    const head = encodeHead(status, fields, { tableUpdate: this.#tableUpdate })
    this.#tableUpdate = false
    const last = trailers.length === 0 ? END_STREAM : 0
    this.#end.write(frame('HEADERS', { stream, flags: END_HEADERS | last, payload: head }))
    if (last !== 0) return
    const payload = encodeFields(trailers)
    this.#end.write(frame('HEADERS', { stream, flags: END_HEADERS | END_STREAM, payload }))
  }
}

function open(
  tableBytes: number,
  settings: { headerTableSize?: number },
  answers: readonly Answer[],
): { session: ClientHttp2Session; server: SmallServer } {
  const [client, end] = duplexPair()
  const server = new SmallServer(end, tableBytes, answers)
  return { session: connect('http://localhost', { createConnection: () => client, settings }), server }
}

async function ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
): Promise<{ head: IncomingHttpHeaders; trailers: IncomingHttpHeaders }> {
  const stream = session.request(headers, { endStream: true })
  let trailers: IncomingHttpHeaders = {}
  stream.on('trailers', (found) => (trailers = found))
  // Node discards content that nobody reads, so that all may be over before the head has been looked at.
  const closed = once(stream, 'close')
  const [head] = (await once(stream, 'response')) as [IncomingHttpHeaders]
  stream.resume()
  await closed
  return { head, trailers }
}

async function close(session: ClientHttp2Session): Promise<void> {
  session.destroy()
  await once(session, 'close')
}

/** No spaces at the ends, which nghttp2 would remove or refuse. */
const value = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 300 }).map((text) => text.trim())
const field = fc.tuple(
  fc.constantFrom('x-a', 'x-b', 'x-a-longer-name', 'etag', 'user-agent', 'server', 'location', 'vary'),
  fc.oneof(fc.constantFrom('nginx', 'culvert/1', '"abc"', 'x'.repeat(500)), value),
)
const fields = fc.uniqueArray(field, { maxLength: 8, selector: ([name]) => name })
const answer: fc.Arbitrary<Answer> = fc.record({
  status: fc.constantFrom(200, 206, 302, 404, 407, 503),
  fields,
  trailers: fc.uniqueArray(fc.tuple(fc.constantFrom('x-t', 'x-u'), value), {
    maxLength: 2,
    selector: ([name]) => name,
  }),
})
const exchanges = fc.array(fc.tuple(fields, answer), { minLength: 1, maxLength: 10 })

afterAll(() => expectNothingLeftOpen())

describe('HPACK against nghttp2', () => {
  it('what a client of Node sends is decoded, and what we answer is what it reads', async () => {
    const sizes = fc.constantFrom(0, 40, 200, 4096, 16_384)
    await fc.assert(
      fc.asyncProperty(exchanges, sizes, sizes, async (list, ours, its) => {
        const answers = list.map(([, each]) => each)
        const { session, server } = open(ours, { headerTableSize: its }, answers)
        try {
          for (const [sent, { status, fields: expected, trailers }] of list) {
            const headers = { ':path': '/', 'proxy-authorization': BASIC, ...Object.fromEntries(sent) }
            const found = await ask(session, { ...headers, [sensitiveHeaders]: ['proxy-authorization'] })
            expect(server.requests.at(-1)).toMatchObject(headers)
            expect(found.head).toMatchObject({ ':status': status, ...Object.fromEntries(expected) })
            expect(found.trailers).toMatchObject(Object.fromEntries(trailers))
          }
        } finally {
          await close(session)
        }
      }),
      { numRuns: 40 },
    )
  })
})
