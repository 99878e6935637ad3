/**
 * TCP connections to targets: resolve the name, check every address against the policy, then try them as RFC 8305
 * section 5 says, all within one time limit.
 *
 * When no address may be dialled, the code is `target_denied` if a rule forbids an address that the policy allows, else
 * `target_private`, else `target_loopback`, else `target_unreachable` if there are only IPv6 addresses and IPv6 is not
 * available. When several attempts fail, the code is that of the attempt that got furthest: refused, then timed out,
 * then unreachable; but `limit_exceeded` when not all were tried for want of a descriptor.
 */
import type { OnReadOpts, Socket, SocketConstructorOpts } from 'node:net'
import type { Clock } from '../clock.ts'
import type { TcpEnd } from '../contract/stream-end.ts'
import type { Cancellation } from '../contract/cancellation.ts'
import type { Counters } from '../counters.ts'
import type { Target } from '../wire/target.ts'
import { connectionOptions, isDescriptorShortage, openConnection, type Connector } from './connection.ts'
import { Deadlines } from './deadlines.ts'
import { AddressDial, NameDial, type DialOutcome } from './dial.ts'
import type { DialEnvironment, DialPolicy, DialResolver } from './dial-environment.ts'

/** The part of `ReadPool` that dialling needs: what sockets are read into, and who takes that back. */
interface ReadMemory {
  readonly onread: OnReadOpts
  endOf(socket: Socket): TcpEnd
}

interface TcpEgressOptions {
  readonly policy: DialPolicy
  readonly resolver: DialResolver
  /** Covers name resolution and every attempt. */
  readonly connectTimeoutMs: number
  readonly clock: Clock
  /** Gets the gauge `outbound_tcp_sockets`, attempts included. */
  readonly counters: Counters
  /** Whether there is a descriptor for one more connection. */
  readonly mayDial: () => boolean
  readonly memory: ReadMemory
}

export class TcpEgress {
  readonly #environment: DialEnvironment
  readonly #socketOptions: SocketConstructorOpts
  #openSockets = 0

  constructor({ memory, connectTimeoutMs, ...options }: TcpEgressOptions) {
    const { counters, clock } = options
    this.#socketOptions = connectionOptions(memory.onread)
    this.#environment = {
      ...options,
      deadlines: new Deadlines(clock, connectTimeoutMs),
      open: (address, port, connector) => this.#open(address, port, connector),
      onFailedConnection: (error) => {
        if (isDescriptorShortage(error)) counters.count('outbound_descriptors_exhausted')
      },
      endOf: (socket) => memory.endOf(socket),
    }
    counters.gauge('outbound_tcp_sockets', () => this.#openSockets)
  }

  /**
   * A connection with half-close, keep-alive, no delay and an error listener; nothing has been read from it
   * beyond what it buffers itself. The caller owns it.
   * @throws EndpointError `target_refused`, `target_unreachable`, `target_timeout`, `target_private`,
   *   `target_loopback`, `target_denied`, or `limit_exceeded` when there is no descriptor for it.
   */
  dial(target: Target, { signal }: { signal: AbortSignal }): Promise<TcpEnd> {
    return new Promise((resolve, reject) =>
      this.start(target, signal, { onDialled: resolve, onDialFailed: reject }),
    )
  }

  /** The same without a promise: tells `outcome`, perhaps before it returns. */
  start(target: Target, cancellation: Cancellation, outcome: DialOutcome): void {
    if (target.kind === 'name') new NameDial(target, this.#environment, cancellation, outcome).start()
    else new AddressDial(target, this.#environment, cancellation, outcome).start()
  }

  #open(address: string, port: number, connector: Connector): Socket {
    const socket = openConnection(address, port, this.#socketOptions, connector)
    this.#openSockets += 1
    socket.on('close', this.#onClose)
    return socket
  }

  readonly #onClose = (): void => {
    this.#openSockets -= 1
  }
}
