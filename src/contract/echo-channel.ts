/** One client's use of the raw ICMP sockets. */
import type { IcmpRequest } from '../wire/icmp-frame.ts'

export interface EchoChannel {
  /** Sends or drops; what is dropped is counted by reason. */
  send(request: IcmpRequest): void
  /** No reply is delivered after this. Idempotent. */
  close(): void
}
