/** The rest of a request that has its answer already. */
import type { Clock } from '../clock.ts'
import type { PlainExchange } from '../contract/exchange.ts'

/** nginx's `lingering_time`. */
const LINGER_MS = 30_000

/** Drops what the client still sends, so that it reads the answer; after a while it is cut off. */
export function discardContent(request: PlainExchange, clock: Clock): void {
  const body = request.body()
  if (body.readableEnded || body.destroyed) return
  const timer = clock.after(LINGER_MS, () => request.reset('no_error'))
  const cancel = (): void => timer.cancel()
  body.once('end', cancel)
  body.once('close', cancel)
  body.resume()
}
