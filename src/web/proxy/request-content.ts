/** How the content of a request is framed for an HTTP/1.1 origin, when the client's HTTP version frames it otherwise. */
import type { Readable } from 'node:stream'
import type { Clock } from '../../clock.ts'
import type { PlainExchange } from '../../contract/exchange.ts'

export type RequestContent =
  | { readonly kind: 'none' }
  | { readonly kind: 'sized'; readonly bytes: number }
  | { readonly kind: 'chunked' }

/** Methods whose requests rarely have content: for these it pays to wait for the end of the stream. */
const USUALLY_EMPTY: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE', 'TRACE'])
const WAIT_MS = 50
const WAIT_FOR_END_MS = 1000

const NONE: RequestContent = { kind: 'none' }
const CHUNKED: RequestContent = { kind: 'chunked' }

/**
 * Resolves at once when a length is declared, else when the first content or the end has arrived, or soon after:
 * a client that waits for the response before it sends must not wait in vain. Undefined: the length is nonsense.
 */
export async function requestContent(
  request: PlainExchange,
  clock: Clock,
): Promise<RequestContent | undefined> {
  const declared = request.headers['content-length']
  if (declared !== undefined) {
    if (!/^\d{1,15}$/.test(declared)) return undefined
    return declared === '0' ? NONE : { kind: 'sized', bytes: Number(declared) }
  }
  const waitMs = USUALLY_EMPTY.has(request.method) ? WAIT_FOR_END_MS : WAIT_MS
  return (await mayHaveContent(request.body(), clock, waitMs)) ? CHUNKED : NONE
}

function mayHaveContent(body: Readable, clock: Clock, waitMs: number): Promise<boolean> {
  if (body.readableEnded || body.destroyed) return Promise.resolve(false)
  if (body.readableLength > 0) return Promise.resolve(true)
  return new Promise((resolve) => {
    const settle = (result: boolean): void => {
      timer.cancel()
      body.off('readable', onReadable)
      body.off('end', onEnd)
      body.off('close', onEnd)
      resolve(result)
    }
    // It fires without anything to read when the end has arrived.
    const onReadable = (): void => settle(body.readableLength > 0)
    const onEnd = (): void => settle(false)
    const timer = clock.after(waitMs, () => settle(true))
    body.on('readable', onReadable)
    body.on('end', onEnd)
    body.on('close', onEnd)
  })
}
