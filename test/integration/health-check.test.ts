/** `_check`: 200 with END_STREAM at once, whether or not the client ended its side (specification 8). */
import { once } from 'node:events'
import http2 from 'node:http2'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client, answerOf } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

let endpoint: TestEndpoint
beforeAll(async () => {
  endpoint = await startEndpoint()
})
afterAll(() => endpoint[Symbol.asyncDispose]())

describe('_check', () => {
  it.each([
    ['_check', false],
    ['_check', true],
    ['_check:443', false],
    ['_check:0', false],
  ])('a health check of %s is answered and over, client ended: %s', async (authority, endStream) => {
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    const stream = client.request(authority, {}, { endStream })
    const { status, flags } = await answerOf(stream)
    expect(status).toBe(200)
    expect(flags & http2.constants.NGHTTP2_FLAG_END_STREAM).toBe(http2.constants.NGHTTP2_FLAG_END_STREAM)
  })

  it('a health check keeps no stream of a client that never ends his', async () => {
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    const streams = Array.from({ length: 50 }, () => client.request('_check'))
    await Promise.all(streams.map(answerOf))
    await endpoint.waitForStats((stats) => stats['open_streams'] === 0)
    const last = client.request('_check')
    await answerOf(last)
    last.resume()
    if (!last.closed) await once(last, 'close')
    expect(last.rstCode).toBe(http2.constants.NGHTTP2_NO_ERROR)
  })
})

expectNothingLeftOpen()
