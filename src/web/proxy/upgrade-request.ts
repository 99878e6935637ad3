/**
 * A request that offers to leave HTTP for WebSocket (RFC 9110 section 7.8). An origin that accepts is joined with the
 * client by the relay that all streams use; one that gives any other answer has got a plain request.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { PlainExchange } from '../../contract/exchange.ts'
import type { StreamEnd } from '../../contract/stream-end.ts'
import { relayStreams } from '../../relay/stream-relay.ts'
import type { RelayOutcome } from '../../relay/relay-rules.ts'
import { PlainRequest } from './plain-request.ts'

/** WebSockets end both ways (RFC 6455 section 7.1.1): a side that stays silent after the other's end is gone. */
const GOODBYE_MS = 5000

/**
 * Whether both the client and its transport can switch to WebSocket. Any other protocol would open up the whole origin.
 */
export function offersUpgrade({ upgrade, headers }: PlainExchange): boolean {
  return upgrade !== undefined && isWebSocket(headers.upgrade)
}

export class UpgradeRequest extends PlainRequest {
  readonly #relayAbort = new AbortController()

  /** A kept connection is for requests that leave it as it was. */
  protected override get repeatable(): boolean {
    return false
  }

  protected override modeHeaders(): Record<string, string> {
    return { ...super.modeHeaders(), connection: 'upgrade', upgrade: 'websocket' }
  }

  /** What the client sends next is for the relay. */
  protected override onNoContent(): void {}

  protected override onSwitching(response: IncomingMessage, socket: Socket, head: Buffer): void {
    const { upgrade } = this.exchange
    const headers = this.headersFor(response)
    const taken = isWebSocket(response.headers.upgrade) && headers !== undefined
    if (this.finished || !taken || upgrade === undefined) return super.onSwitching(response, socket, head)
    this.beginAnswer()
    const client = upgrade({ ...headers, upgrade: 'websocket' })
    this.stopWatching()
    void this.#relay(client, socket, head).then(() => this.complete())
  }

  /** `head` is what the origin sent after its answer. Never rejects. */
  #relay(client: StreamEnd, origin: Socket, head: Buffer): Promise<RelayOutcome> {
    // The client's last words still go to an origin that has ended its side.
    origin.allowHalfOpen = true
    if (head.length > 0) origin.unshift(head)
    const target = { io: origin, reset: () => void origin.destroy() }
    const { idleMonitor, limits } = this.owner
    return relayStreams(client, target, {
      idleMonitor,
      idleTimeoutMs: limits.idleTimeoutMs,
      halfClosedIdleMs: GOODBYE_MS,
      signal: AbortSignal.any([this.exchange.signal, this.#relayAbort.signal]),
    })
  }

  protected override onFinish(): void {
    this.#relayAbort.abort()
  }
}

function isWebSocket(upgrade: string | undefined): boolean {
  return upgrade?.toLowerCase() === 'websocket'
}
