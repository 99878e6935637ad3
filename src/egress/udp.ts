/**
 * UDP to targets: one connected socket per flow, so that only the exact destination can answer (specification 6.5). The
 * address that is really used passes the policy first.
 */
import { createSocket, type Socket, type SocketOptions } from 'node:dgram'
import type { AddressCheck } from './egress-policy.ts'
import type { UdpHandlers, UdpSocket } from '../contract/udp-socket.ts'
import type { Counters } from '../counters.ts'
import { EndpointError } from '../errors.ts'
import { normalizePeerAddress } from '../wire/ip-kind.ts'

/** How much a socket may hold before it is connected: datagrams and bytes. Beyond that the newest are dropped. */
const MAX_EARLY_DATAGRAMS = 64
const MAX_EARLY_BYTES = 64 * 1024
/** How many sends are in flight before asking for the length of the kernel's backlog. */
const UNSENT_BEFORE_CHECK = 64

interface UdpEgressOptions {
  readonly policy: AddressCheck
  readonly ipv6Available: boolean
  /** Bytes that may wait in one socket while the kernel does not take them. */
  readonly maxSendQueueBytes: number
  readonly counters: Counters
  /** Whether there is a descriptor for one more socket. */
  readonly mayDial: () => boolean
}

/** Why a datagram was not sent. */
type UdpSendDrop = 'early_queue' | 'send_queue'

/** Addresses are literals: answering at once makes bind and connect happen within the call. */
const lookupLiteral: NonNullable<SocketOptions['lookup']> = (hostname, _options, callback) => {
  callback(null, hostname, hostname.includes(':') ? 6 : 4)
}

/** Opens UDP sockets and knows how many are open. */
export class UdpEgress {
  readonly #options: UdpEgressOptions
  readonly #maxSendQueueBytes: number
  #open = 0

  constructor(options: UdpEgressOptions) {
    this.#options = options
    this.#maxSendQueueBytes = options.maxSendQueueBytes
    options.counters.gauge('outbound_udp_sockets', () => this.#open)
  }

  /**
   * A socket connected to `destination`; an IPv4-mapped address is reached over IPv4.
   * @throws EndpointError with a refusal code: forbidden by the policy, IPv6 not available (`target_unreachable`),
   *   no descriptor left (`limit_exceeded`), or refused by the system (`target_refused`).
   */
  open(destination: { readonly address: string; readonly port: number }, handlers: UdpHandlers): UdpSocket {
    const target = normalizePeerAddress(destination.address)
    if (target === undefined || destination.port === 0) {
      throw new EndpointError('target_refused', 'no address to send to')
    }
    if (target.family === 6 && !this.#options.ipv6Available) {
      throw new EndpointError('target_unreachable', 'IPv6 is not available')
    }
    this.#options.policy.check(target.address, destination.port)
    if (!this.#options.mayDial()) {
      this.#options.counters.count('outbound_descriptors_exhausted')
      throw new EndpointError('limit_exceeded', 'no descriptor is left for a socket')
    }
    this.#open += 1
    return new ConnectedSocket(target, destination.port, this.#maxSendQueueBytes, handlers, () => {
      this.#open -= 1
    })
  }
}

/** The refusal that corresponds to a system error. */
function refusalOf(error: Error): EndpointError {
  const exhausted = 'code' in error && (error.code === 'EMFILE' || error.code === 'ENFILE')
  return new EndpointError(exhausted ? 'limit_exceeded' : 'target_refused', 'cannot open a UDP socket', {
    cause: error,
  })
}

class ConnectedSocket implements UdpSocket {
  readonly #socket: Socket
  readonly #handlers: UdpHandlers
  readonly #maxSendQueueBytes: number
  readonly #onClosed: () => void
  #state: 'opening' | 'connecting' | 'open' | 'closed' = 'opening'
  /** What was sent before the socket was connected. */
  #early: Buffer[] = []
  #earlyBytes = 0
  #unsent = 0

  constructor(
    target: { readonly address: string; readonly family: 4 | 6 },
    port: number,
    maxSendQueueBytes: number,
    handlers: UdpHandlers,
    onClosed: () => void,
  ) {
    this.#handlers = handlers
    this.#maxSendQueueBytes = maxSendQueueBytes
    this.#onClosed = onClosed
    this.#socket = createSocket({ type: target.family === 4 ? 'udp4' : 'udp6', lookup: lookupLiteral })
    let failure: Error | undefined
    this.#socket.on('error', (error) => {
      if (this.#state === 'opening') failure = error
      else this.#fail(error)
    })
    this.#socket.on('message', handlers.onMessage)
    this.#socket.once('connect', () => this.#onConnect())
    try {
      this.#socket.connect(port, target.address)
    } catch (error) {
      failure ??= error instanceof Error ? error : new Error(String(error))
    }
    if (failure !== undefined) {
      this.close()
      throw refusalOf(failure)
    }
    this.#state = 'connecting'
  }

  send(payload: Buffer): UdpSendDrop | undefined {
    if (this.#state === 'connecting') return this.#keep(payload)
    if (this.#state !== 'open') return undefined
    if (this.#unsent >= UNSENT_BEFORE_CHECK && this.#socket.getSendQueueSize() > this.#maxSendQueueBytes) {
      return 'send_queue'
    }
    this.#unsent += 1
    this.#socket.send(payload, this.#onSent)
    return undefined
  }

  close(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#early = []
    this.#socket.close()
    this.#onClosed()
  }

  /** One function for all datagrams: a closure for each would cost more than the rest of the send. */
  readonly #onSent = (error: Error | null): void => {
    this.#unsent -= 1
    if (error !== null) this.#fail(error)
  }

  #keep(payload: Buffer): UdpSendDrop | undefined {
    const full =
      this.#early.length >= MAX_EARLY_DATAGRAMS || this.#earlyBytes + payload.length > MAX_EARLY_BYTES
    if (full) return 'early_queue'
    this.#early.push(payload)
    this.#earlyBytes += payload.length
    return undefined
  }

  #onConnect(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'open'
    const early = this.#early
    this.#early = []
    for (const payload of early) this.send(payload)
  }

  #fail(error: Error): void {
    if (this.#state === 'closed') return
    this.close()
    this.#handlers.onError(error)
  }
}
