/** The answer on ping hosts and the ping path: 200 without content, whatever the method; then the session ends. */
import type { Exchange } from '../contract/exchange.ts'
import type { WebPages } from './nginx/web-pages.ts'

/** How long the client may take to read the answer and close. */
const GRACE_MS = 3000

export function answerPing(exchange: Exchange, pages: WebPages): void {
  exchange.refuse(200, pages.opening())
  // It always resolves; a session that is already gone has nothing to report.
  exchange.session.close({ graceMs: GRACE_MS }).catch(() => {})
}
