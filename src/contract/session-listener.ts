/** What a transport reports about its sessions. */
import type { Exchange } from './exchange.ts'
import type { Session } from './session.ts'

/** Receives the events of one session. */
export interface SessionListener {
  onExchange(exchange: Exchange): void
  /** Called once, with `error` when the session did not end in order. No exchange follows. */
  onClose(error?: Error): void
}

/** A transport calls it for each session whose handshake is complete. */
export type AcceptSession = (session: Session) => SessionListener
