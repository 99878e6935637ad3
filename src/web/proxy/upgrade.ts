/** The two connections of an exchange that has left HTTP for WebSocket, joined by the relay that all streams use. */
import type { Socket } from 'node:net'
import type { StreamEnd } from '../../contract/stream-end.ts'
import { relayStreams } from '../../relay/stream-relay.ts'
import type { RelayOptions, RelayOutcome } from '../../relay/stream-relay.ts'

/** WebSockets end both ways (RFC 6455 section 7.1.1): a side that stays silent after the other's end is gone. */
const GOODBYE_MS = 5000

/** `head` is what the origin sent after its answer. Never rejects. */
export function relayUpgraded(
  client: StreamEnd,
  origin: Socket,
  head: Buffer,
  options: Omit<RelayOptions, 'halfClosedIdleMs'>,
): Promise<RelayOutcome> {
  // The client's last words still go to an origin that has ended its side.
  origin.allowHalfOpen = true
  if (head.length > 0) origin.unshift(head)
  const target = { io: origin, reset: () => void origin.destroy() }
  return relayStreams(client, target, { ...options, halfClosedIdleMs: GOODBYE_MS })
}
