/** TCP tunnels: a connection to the target, then the relay (specification section 5). */
import type { IdleMonitor } from '../relay/idle-monitor.ts'
import type { RelayOptions } from '../relay/relay-rules.ts'
import { startRelay } from '../relay/stream-relay.ts'
import type { Cancellation } from '../contract/cancellation.ts'
import type { Forwarder, OpenTunnel, TunnelContext } from '../contract/forwarder.ts'
import type { StreamEnd } from '../contract/stream-end.ts'
import type { Target } from '../wire/target.ts'

/** Hears of a connection to a target, once. */
interface DialOutcome {
  /** `io` has an error listener. */
  onDialled(end: StreamEnd): void
  /** `error` is an `EndpointError` whose code is a `RefusalCode`, or a fault of ours. */
  onDialFailed(error: unknown): void
}

/** Opens connections within a time limit of its own: `egress/tcp.ts`, or an upstream. */
interface TcpDialer {
  /** Tells `outcome`, perhaps before it returns. */
  start(target: Target, cancellation: Cancellation, outcome: DialOutcome): void
}

interface TcpForwarderOptions {
  readonly dialer: TcpDialer
  /** Limit for both directions together. */
  readonly idleTimeoutMs: number
  readonly idleMonitor: IdleMonitor
}

/** On its way, then open. Gives the relay its options itself: no object for each tunnel, no signal where none is used. */
class TcpTunnel implements OpenTunnel, DialOutcome, RelayOptions {
  readonly #context: TunnelContext
  readonly #options: TcpForwarderOptions
  #target: StreamEnd | undefined

  constructor(context: TunnelContext, options: TcpForwarderOptions) {
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

  onDialled(end: StreamEnd): void {
    this.#target = end
    this.#context.onOpen(this)
  }

  onDialFailed(error: unknown): void {
    this.#context.onRefused(error)
  }

  run(stream: StreamEnd): void {
    if (this.#target !== undefined) startRelay(stream, this.#target, this, this.#context)
  }

  destroy(): void {
    this.#target?.io.destroy()
  }
}

export class TcpForwarder implements Forwarder<Target> {
  readonly #options: TcpForwarderOptions

  constructor(options: TcpForwarderOptions) {
    this.#options = options
  }

  open(target: Target, context: TunnelContext): void {
    this.#options.dialer.start(target, context.cancellation, new TcpTunnel(context, this.#options))
  }
}
