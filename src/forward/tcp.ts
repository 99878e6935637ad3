/** TCP tunnels: a connection to the target, then the relay (specification section 5). */
import type { Socket } from 'node:net'
import type { IdleMonitor } from '../relay/idle-monitor.ts'
import type { ReadPool } from '../relay/read-pool.ts'
import { tcpEnd } from '../relay/tcp-end.ts'
import { relayStreams } from '../relay/stream-relay.ts'
import type { Forwarder, OpenTunnel, TunnelContext, TunnelEnd } from '../contract/forwarder.ts'
import type { StreamEnd } from '../contract/stream-end.ts'
import type { Target } from '../wire/target.ts'

/** Opens connections within a time limit of its own: `egress/tcp.ts`, or an upstream. */
interface TcpDialer {
  /** Rejects with an `EndpointError` whose code is a `RefusalCode`. The socket has an error listener. */
  dial(target: Target, options: { signal: AbortSignal }): Promise<Socket>
}

interface TcpForwarderOptions {
  readonly dialer: TcpDialer
  /** Limit for both directions together. */
  readonly idleTimeoutMs: number
  readonly idleMonitor: IdleMonitor
  /** The pool that the dialer's sockets are read into, if it uses one. */
  readonly readPool?: ReadPool
}

class TcpTunnel implements OpenTunnel {
  readonly #socket: Socket
  readonly #context: TunnelContext
  readonly #options: TcpForwarderOptions

  constructor(socket: Socket, context: TunnelContext, options: TcpForwarderOptions) {
    this.#socket = socket
    this.#context = context
    this.#options = options
  }

  run(stream: StreamEnd): Promise<TunnelEnd> {
    const { idleTimeoutMs, idleMonitor } = this.#options
    return relayStreams(stream, tcpEnd(this.#socket, this.#options.readPool), {
      idleTimeoutMs,
      idleMonitor,
      signal: this.#context.signal,
    })
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

export class TcpForwarder implements Forwarder<Target> {
  readonly #options: TcpForwarderOptions

  constructor(options: TcpForwarderOptions) {
    this.#options = options
  }

  async open(target: Target, context: TunnelContext): Promise<OpenTunnel> {
    const socket = await this.#options.dialer.dial(target, { signal: context.signal })
    return new TcpTunnel(socket, context, this.#options)
  }
}
