/**
 * One UDP flow: what a client sends from one source to one destination within its stream, and the answers
 * (specification 6.5). Owns the flow's socket.
 */
import type { UdpHandlers, UdpSocket } from '../contract/udp-socket.ts'
import type { TotalLabel } from '../counters.ts'
import type { QueuedDatagram } from '../relay/datagram-queue.ts'
import { udpReplySize, writeUdpReply } from '../wire/udp-frame.ts'

const DNS_PORT = 53
/**
 * How long a flow to port 53 stays after an answer. Most resolvers use a new port for each question, and never use such
 * a flow again. But others ask A and AAAA from the same port, and an answer may arrive twice, so answers cannot be
 * counted.
 */
const ANSWERED_DNS_MS = 5000

/** Where flows get their sockets; it applies the policy. */
export interface UdpDialer {
  /** @throws EndpointError with a refusal code. */
  open(destination: { readonly address: string; readonly port: number }, handlers: UdpHandlers): UdpSocket
}

/** Why a flow ended; a label of the counter `udp_flows_ended`. */
export type FlowEnd = 'idle' | 'answered' | 'error' | 'evicted' | 'stream_ended'

/** What a flow tells the stream that it belongs to. */
export interface FlowListener {
  onReply(reply: QueuedDatagram, payloadBytes: number): void
  /** The socket has failed and is closed. */
  onFlowError(flow: UdpFlow): void
  now(): number
}

/** An answer on its way to the client. */
class UdpReply implements QueuedDatagram {
  readonly size: number
  readonly #addressing: Buffer
  readonly #payload: Buffer

  constructor(addressing: Buffer, payload: Buffer) {
    this.size = udpReplySize(payload.length)
    this.#addressing = addressing
    this.#payload = payload
  }

  writeTo(target: Buffer, offset: number): void {
    writeUdpReply(target, offset, this.#addressing, this.#payload)
  }
}

interface UdpFlowOptions {
  /** Identifies the flow within its stream. */
  readonly key: string
  readonly destination: { readonly address: string; readonly port: number }
  /** Source and destination of every answer: those of the client's frames, swapped, byte for byte. */
  readonly replyAddressing: Buffer
  readonly dialer: UdpDialer
  readonly listener: FlowListener
}

export class UdpFlow {
  readonly key: string
  /** When a datagram last passed, in either direction; by the clock of the listener. */
  lastUsedMs: number
  readonly #addressing: Buffer
  readonly #listener: FlowListener
  readonly #socket: UdpSocket
  readonly #isDns: boolean
  /** An answer has arrived, and nothing was sent since. */
  #answered = false

  /** @throws EndpointError with a refusal code, from the dialer. */
  constructor(options: UdpFlowOptions) {
    this.key = options.key
    this.#addressing = options.replyAddressing
    this.#listener = options.listener
    this.#isDns = options.destination.port === DNS_PORT
    this.lastUsedMs = options.listener.now()
    this.#socket = options.dialer.open(options.destination, {
      onMessage: this.#onMessage,
      onError: () => this.#listener.onFlowError(this),
    })
  }

  /** Sends or drops; returns the reason when it dropped. */
  send(payload: Buffer, nowMs: number): TotalLabel<'udp_drops'> | undefined {
    this.lastUsedMs = nowMs
    this.#answered = false
    return this.#socket.send(payload)
  }

  /** Why the flow is over, if it has been unused for as long as it may be; otherwise undefined. */
  expiry(nowMs: number, idleTimeoutMs: number): 'idle' | 'answered' | undefined {
    const unusedMs = nowMs - this.lastUsedMs
    if (unusedMs >= idleTimeoutMs) return 'idle'
    return this.#isDns && this.#answered && unusedMs >= ANSWERED_DNS_MS ? 'answered' : undefined
  }

  /** Frees the socket. Idempotent. */
  close(): void {
    this.#socket.close()
  }

  readonly #onMessage = (payload: Buffer): void => {
    this.lastUsedMs = this.#listener.now()
    this.#answered = true
    this.#listener.onReply(new UdpReply(this.#addressing, payload), payload.length)
  }
}
