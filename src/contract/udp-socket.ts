/** A UDP socket that is connected to one destination. */
import type { TotalLabel } from '../counters.ts'

export interface UdpSocket {
  /** Sends or drops; returns the reason when it dropped. `payload` must not change afterwards. */
  send(payload: Buffer): TotalLabel<'udp_drops'> | undefined
  /** Idempotent. */
  close(): void
}

/** Receives the events of one socket. */
export interface UdpHandlers {
  /** `payload` belongs to the receiver. */
  readonly onMessage: (payload: Buffer) => void
  /** The socket failed and is closed. Never called from within the opening or a send, nor after `close`. */
  readonly onError: (error: Error) => void
}
