/**
 * `_udp2`: all UDP of a client over one stream or several (specification 6). The stream is accepted at once; the client
 * never learns what becomes of a datagram, because the format has no way to say it.
 */
import type { Clock, Timer } from '../clock.ts'
import type { Counters } from '../counters.ts'
import type { Forwarder, TunnelContext, TunnelEnd } from '../contract/forwarder.ts'
import type { StreamEnd } from '../contract/stream-end.ts'
import { DatagramRoom } from '../relay/datagram-room.ts'
import { UdpBudget } from './udp-budget.ts'
import type { FlowSlots } from './udp-budget.ts'
import type { FlowEnd, UdpDialer } from './udp-flow.ts'
import { UdpStream, type UdpDropReason, type UdpTally } from './udp-stream.ts'

export interface UdpForwarderOptions {
  readonly dialer: UdpDialer
  readonly clock: Clock
  readonly counters: Counters
  readonly slots: FlowSlots
  /** A flow without a datagram in either direction ends after this time, give or take a tick. */
  readonly idleTimeoutMs: number
  /** Flows of one stream; above that, a new flow ends the one that was idle longest. */
  readonly maxFlowsPerStream: number
  /** Flows of one user in all streams. */
  readonly maxFlowsPerUser: number
  /** Flows in all; each needs a descriptor. */
  readonly maxFlows: number
  /** Bytes that may wait for one slow client. */
  readonly queueBytes: number
  /** Datagrams that may wait for one slow client. */
  readonly queueDatagrams: number
}

export class UdpForwarder implements Forwarder<undefined> {
  readonly #options: UdpForwarderOptions
  readonly #budget: UdpBudget
  readonly #tally: Tally
  readonly #room: DatagramRoom
  readonly #streams = new Set<UdpStream>()
  /** Runs only while there are streams. */
  #tick: Timer | undefined

  constructor(options: UdpForwarderOptions) {
    this.#options = options
    this.#tally = new Tally(options.counters)
    this.#room = new DatagramRoom(options.queueBytes)
    this.#budget = new UdpBudget(
      { maxFlows: options.maxFlows, maxFlowsPerUser: options.maxFlowsPerUser },
      options.slots,
    )
  }

  open(_target: undefined, context: TunnelContext): void {
    context.onOpen({
      run: (stream) =>
        void this.#run(stream, context).then(
          (end) => context.onEnd(end),
          (error: unknown) => context.onFault(error),
        ),
      destroy: () => {},
    })
  }

  async #run(stream: StreamEnd, context: TunnelContext): Promise<TunnelEnd> {
    const { dialer, clock, idleTimeoutMs } = this.#options
    const udpStream = new UdpStream(stream, context, {
      dialer,
      idleTimeoutMs,
      share: this.#budget.of(context.user),
      tally: this.#tally,
      maxFlowsPerStream: this.#options.maxFlowsPerStream,
      queueBytes: this.#options.queueBytes,
      queueDatagrams: this.#options.queueDatagrams,
      room: this.#room.of(context.user),
      now: () => clock.now(),
    })
    this.#streams.add(udpStream)
    this.#tick ??= clock.every(tickMs(idleTimeoutMs), () => this.#onTick())
    const end = await udpStream.run()
    this.#streams.delete(udpStream)
    this.#tally.publish()
    if (this.#streams.size === 0) {
      this.#tick?.cancel()
      this.#tick = undefined
    }
    return end
  }

  #onTick(): void {
    const nowMs = this.#options.clock.now()
    for (const stream of this.#streams) stream.sweep(nowMs)
    this.#tally.publish()
  }
}

/** Often enough that a flow outlives its limit by at most an eighth, and that counters are up to date. */
function tickMs(idleTimeoutMs: number): number {
  return Math.min(1000, Math.max(10, idleTimeoutMs / 8))
}

/** Adds up in fields and updates the counters once per tick: a labelled count per datagram would show in profiles. */
class Tally implements UdpTally {
  readonly #counters: Counters
  #uplinkDatagrams = 0
  #uplinkBytes = 0
  #downlinkDatagrams = 0
  #downlinkBytes = 0

  constructor(counters: Counters) {
    this.#counters = counters
  }

  onUplink(bytes: number): void {
    this.#uplinkDatagrams += 1
    this.#uplinkBytes += bytes
  }

  onDownlink(bytes: number): void {
    this.#downlinkDatagrams += 1
    this.#downlinkBytes += bytes
  }

  onDrop(reason: UdpDropReason): void {
    this.#counters.count('udp_drops', reason)
  }

  onFlowStart(): void {
    this.#counters.count('udp_flows')
  }

  onFlowEnd(end: FlowEnd): void {
    this.#counters.count('udp_flows_ended', end)
  }

  publish(): void {
    this.#counters.count('udp_datagrams', 'uplink', this.#uplinkDatagrams)
    this.#counters.count('udp_datagrams', 'downlink', this.#downlinkDatagrams)
    this.#counters.count('udp_bytes', 'uplink', this.#uplinkBytes)
    this.#counters.count('udp_bytes', 'downlink', this.#downlinkBytes)
    this.#uplinkDatagrams = 0
    this.#uplinkBytes = 0
    this.#downlinkDatagrams = 0
    this.#downlinkBytes = 0
  }
}
