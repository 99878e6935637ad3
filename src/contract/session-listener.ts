/** What a transport tells about its sessions. */
import type { Exchange } from './exchange.ts'
import type { Session } from './session.ts'

/** Told about one session. */
export interface SessionListener {
  onExchange(exchange: Exchange): void
  /** Once; `error` when it did not end in order. No exchange follows. */
  onClose(error?: Error): void
}

/** Called by a transport for each session whose handshake is complete. */
export type AcceptSession = (session: Session) => SessionListener
