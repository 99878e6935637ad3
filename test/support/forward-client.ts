/** Clients that send a forward proxy requests for `http:` addresses, with the same interface for each HTTP version. */
import { once } from 'node:events'
import https from 'node:https'
import type { IncomingMessage } from 'node:http'
import { constants } from 'node:http2'
import { PassThrough } from 'node:stream'
import type { Readable, Writable } from 'node:stream'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { USER } from './endpoint.ts'
import { H2Client, answerOf as answerOf2 } from './h2-client.ts'
import { H3Client, answerOf as answerOf3 } from './h3-client.ts'

export interface ForwardQuery {
  readonly authority: string
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  /** When set, the caller writes and ends `content`. */
  readonly hasContent?: boolean
}

export interface ForwardAnswer {
  readonly status: number
  /** Without what the HTTP version adds: `connection`, `transfer-encoding`, pseudo-headers. */
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: Readable
}

export interface ForwardExchange {
  /** Rejects when the exchange ends without one. */
  readonly answer: Promise<ForwardAnswer>
  readonly content: Writable
  /** Abandons the request. */
  cancel(): void
}

export interface ForwardClient extends AsyncDisposable {
  send(query: ForwardQuery): ForwardExchange
}

export type OpenForwardClient = (port: number, serverName?: string) => Promise<ForwardClient>

export const AUTHORIZED = { 'proxy-authorization': encodeBasicAuth(USER.username, USER.password) }

/** A connection for each request. */
const openHttp1: OpenForwardClient = (port, servername = 'vpn.endpoint') => {
  const agent = new https.Agent({ keepAlive: true, rejectUnauthorized: false })
  const send = ({ authority, method = 'GET', path = '/', headers, hasContent = false }: ForwardQuery) => {
    const fields = { host: authority, ...headers }
    const url = `http://${authority}${path}`
    const request = https.request({ port, servername, agent, method, path: url, headers: fields })
    request.on('error', () => {})
    if (hasContent) request.flushHeaders()
    else request.end()
    const answer = once(request, 'response').then(([response]: IncomingMessage[]) => {
      if (response === undefined) throw new Error('no response')
      return { status: response.statusCode ?? 0, headers: shown(response.headers), body: response }
    })
    answer.catch(() => {})
    return { answer, content: request, cancel: () => void request.destroy() }
  }
  return Promise.resolve({
    send,
    [Symbol.asyncDispose]: () => {
      agent.destroy()
      return Promise.resolve()
    },
  })
}

const openHttp2: OpenForwardClient = async (port, serverName = 'vpn.endpoint') => {
  const client = await H2Client.open({ port, serverName })
  return {
    send: ({ hasContent = false, ...query }) => {
      const stream = client.session.request(pseudoHeaders(query), { endStream: !hasContent })
      stream.on('error', () => {})
      const answer = answerOf2(stream).then(({ status, headers }) => ({
        status,
        headers: shown(headers),
        body: stream,
      }))
      answer.catch(() => {})
      return { answer, content: stream, cancel: () => stream.close(constants.NGHTTP2_CANCEL) }
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  }
}

const openHttp3: OpenForwardClient = async (port) => {
  const client = await H3Client.open(port)
  return {
    send: ({ hasContent = false, ...query }) => {
      const stream = client.request(pseudoHeaders(query), { endStream: !hasContent })
      // When the stream ends, the library throws away whatever nobody has asked for.
      const body = stream.pipe(new PassThrough())
      stream.once('close', () => stream.readableEnded || body.destroy())
      const answer = answerOf3(stream).then(({ status, headers }) => ({
        status,
        headers: shown(headers),
        body,
      }))
      answer.catch(() => {})
      return { answer, content: stream, cancel: () => stream.close(0x10c) }
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  }
}

export const FORWARD_CLIENTS = [
  ['HTTP1', openHttp1],
  ['HTTP2', openHttp2],
  ['HTTP3', openHttp3],
] as const

function pseudoHeaders({ authority, method = 'GET', path = '/', headers }: ForwardQuery) {
  return { ':method': method, ':scheme': 'http', ':authority': authority, ':path': path, ...headers }
}

function shown(headers: object): Record<string, unknown> {
  const hidden = new Set(['connection', 'transfer-encoding'])
  const entries = Object.entries(headers).filter(([name]) => !name.startsWith(':') && !hidden.has(name))
  return Object.fromEntries(entries)
}
