/** A small client for web answers over HTTP/1.1 and HTTP/2 that returns both in the same form. */
import http2 from 'node:http2'
import https from 'node:https'
import { buffer } from 'node:stream/consumers'

export interface WebAnswer {
  readonly status: number
  /** In the order of arrival, lower case, without `connection` and `date`. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer
}

export interface WebQuery {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string>
  readonly body?: Buffer
  /** `:authority` or `Host`. */
  readonly authority?: string
}

export type Ask = (port: number, query: WebQuery) => Promise<WebAnswer>

const HIDDEN = new Set(['connection', 'date'])

/** The value of a field of `answer`. */
export function field(answer: WebAnswer, name: string): string | undefined {
  return answer.headers.find(([key]) => key === name)?.[1]
}

export const askHttp1: Ask = (port, query) => {
  const { method = 'GET', path = '/', headers = {}, body, authority = 'localhost' } = query
  return new Promise((resolve, reject) => {
    const request = https.request({
      port,
      host: '127.0.0.1',
      servername: 'localhost',
      rejectUnauthorized: false,
      agent: false,
      method,
      path,
      headers: { host: authority, ...headers, ...(body && { 'content-length': body.length }) },
    })
    request.once('error', reject)
    request.once('response', (response) => {
      const raw = response.rawHeaders
      const pairs = raw.flatMap((name, index) =>
        index % 2 === 0 ? [[name.toLowerCase(), raw[index + 1] ?? ''] as const] : [],
      )
      buffer(response).then(
        (content) => resolve({ status: response.statusCode ?? 0, headers: visible(pairs), body: content }),
        reject,
      )
    })
    request.end(body)
  })
}

export const askHttp2: Ask = (port, query) => {
  const { method = 'GET', path = '/', headers = {}, body, authority = 'localhost' } = query
  return new Promise((resolve, reject) => {
    const session = http2.connect(`https://localhost:${port}`, {
      host: '127.0.0.1',
      rejectUnauthorized: false,
    })
    session.once('error', reject)
    const length = body && { 'content-length': String(body.length) }
    const head = { ':method': method, ':path': path, ':authority': authority, ...headers, ...length }
    const stream = session.request(head, { endStream: body === undefined })
    stream.once('error', reject)
    stream.once('response', (fields) => {
      const pairs = Object.entries(fields).flatMap(([name, value]) =>
        name.startsWith(':') ? [] : [value ?? ''].flat().map((single) => [name, single] as const),
      )
      buffer(stream)
        .then((content) =>
          resolve({ status: fields[':status'] ?? 0, headers: visible(pairs), body: content }),
        )
        .catch(reject)
        .finally(() => session.close())
    })
    if (body !== undefined) stream.end(body)
  })
}

function visible(pairs: readonly (readonly [string, string])[]): readonly (readonly [string, string])[] {
  return pairs.filter(([name]) => !HIDDEN.has(name))
}
