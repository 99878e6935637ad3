/**
 * How to frame the content of a request for an HTTP/1.1 origin when the client's HTTP version frames it differently.
 */
import type { Readable } from 'node:stream'
import type { Clock } from '../../clock.ts'
import type { PlainExchange } from '../../contract/exchange.ts'

export type RequestContent =
  | { readonly kind: 'none' }
  | { readonly kind: 'sized'; readonly bytes: number }
  | { readonly kind: 'chunked' }

/** Methods whose requests rarely have content: for these it pays to wait for the end of the stream. */
const USUALLY_EMPTY: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE', 'TRACE'])
/** Fields that a request without content does not have. */
const ANNOUNCING = ['transfer-encoding', 'content-type', 'content-encoding', 'expect'] as const
const WAIT_MS = 50
const WAIT_FOR_END_MS = 1000

const NONE: RequestContent = { kind: 'none' }
const CHUNKED: RequestContent = { kind: 'chunked' }

/**
 * Resolves at once when a length is declared, else when the first content or the end has arrived, or soon after: a
 * client that waits for the response before it sends must not wait in vain. A client that has merely forgotten to end
 * its stream has sent no content: an origin that is told to expect chunks may answer and close, and the empty last
 * chunk then resets the connection. Undefined: the length makes no sense.
 */
export async function requestContent(
  exchange: PlainExchange,
  clock: Clock,
): Promise<RequestContent | undefined> {
  const declared = exchange.headers['content-length']
  if (declared !== undefined) {
    if (!/^\d{1,15}$/.test(declared)) return undefined
    return declared === '0' ? NONE : { kind: 'sized', bytes: Number(declared) }
  }
  const usuallyEmpty = USUALLY_EMPTY.has(exchange.method)
  const arrived = await firstOf(exchange.body(), clock, usuallyEmpty ? WAIT_FOR_END_MS : WAIT_MS)
  if (arrived !== 'nothing') return arrived === 'content' ? CHUNKED : NONE
  return usuallyEmpty && !ANNOUNCING.some((name) => name in exchange.headers) ? NONE : CHUNKED
}

/** What happens first on `body`; `nothing` after `waitMs`. */
function firstOf(body: Readable, clock: Clock, waitMs: number): Promise<'content' | 'end' | 'nothing'> {
  if (body.readableEnded || body.destroyed) return Promise.resolve('end')
  if (body.readableLength > 0) return Promise.resolve('content')
  return new Promise((resolve) => {
    const settle = (result: 'content' | 'end' | 'nothing'): void => {
      timer.cancel()
      body.off('readable', onReadable)
      body.off('end', onEnd)
      body.off('close', onEnd)
      resolve(result)
    }
    // When the end has arrived, this fires with nothing to read.
    const onReadable = (): void => settle(body.readableLength > 0 ? 'content' : 'end')
    const onEnd = (): void => settle('end')
    const timer = clock.after(waitMs, () => settle('nothing'))
    body.on('readable', onReadable)
    body.on('end', onEnd)
    body.on('close', onEnd)
  })
}
