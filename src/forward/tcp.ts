/** TCP tunnels: a connection to the target, then the relay (specification section 5). */
import type { IdleMonitor } from '../relay/idle-monitor.ts'
import type { RelayOptions } from '../relay/relay-rules.ts'
import { relayStreams } from '../relay/stream-relay.ts'
import type { Forwarder, OpenTunnel, TunnelContext, TunnelEnd } from '../contract/forwarder.ts'
import type { StreamEnd } from '../contract/stream-end.ts'
import type { Target } from '../wire/target.ts'

/** Opens connections within a time limit of its own: `egress/tcp.ts`, or an upstream. */
interface TcpDialer {
  /** Rejects with an `EndpointError` whose code is a `RefusalCode`. `io` has an error listener. */
  dial(target: Target, options: { signal: AbortSignal }): Promise<StreamEnd>
}

interface TcpForwarderOptions {
  readonly dialer: TcpDialer
  /** Limit for both directions together. */
  readonly idleTimeoutMs: number
  readonly idleMonitor: IdleMonitor
}

/** Gives the relay its options itself: the signal only where it is asked for, and no object for each tunnel. */
class TcpTunnel implements OpenTunnel, RelayOptions {
  readonly #target: StreamEnd
  readonly #context: TunnelContext
  readonly #options: TcpForwarderOptions

  constructor(target: StreamEnd, context: TunnelContext, options: TcpForwarderOptions) {
    this.#target = target
    this.#context = context
    this.#options = options
  }

  get idleTimeoutMs(): number {
    return this.#options.idleTimeoutMs
  }

  get idleMonitor(): IdleMonitor {
    return this.#options.idleMonitor
  }

  get signal(): AbortSignal {
    return this.#context.signal
  }

  run(stream: StreamEnd): Promise<TunnelEnd> {
    return relayStreams(stream, this.#target, this)
  }

  destroy(): void {
    this.#target.io.destroy()
  }
}

export class TcpForwarder implements Forwarder<Target> {
  readonly #options: TcpForwarderOptions

  constructor(options: TcpForwarderOptions) {
    this.#options = options
  }

  async open(target: Target, context: TunnelContext): Promise<OpenTunnel> {
    const end = await this.#options.dialer.dial(target, { signal: context.signal })
    return new TcpTunnel(end, context, this.#options)
  }
}
