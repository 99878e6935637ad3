/**
 * One `_udp2` stream while it runs (specification 6): frames from the client become datagrams of flows, answers become
 * frames. When something goes wrong with a datagram or a flow, nothing else is affected.
 */
import type { TotalLabel } from '../counters.ts'
import { EndpointError, isRefusal } from '../errors.ts'
import { faultFields, targetFields } from '../log.ts'
import { DatagramQueue, type QueuedDatagram } from '../relay/datagram-queue.ts'
import type { UserRoom } from '../relay/datagram-room.ts'
import type { TunnelContext, TunnelEnd } from '../contract/forwarder.ts'
import type { StreamEnd } from '../contract/stream-end.ts'
import { UdpUplinkDecoder, type SkipReason, type UplinkDatagram, type UplinkSink } from '../wire/udp-frame.ts'
import { StreamLifetime, type StreamHandlers } from './stream-lifetime.ts'
import type { UdpShare } from './udp-budget.ts'
import { UdpFlowTable } from './udp-flow-table.ts'
import { UdpFlow, type FlowEnd, type FlowListener, type UdpDialer } from './udp-flow.ts'

export type UdpDropReason = TotalLabel<'udp_drops'>

/** Counts for the forwarder; a call per datagram must cost next to nothing. */
export interface UdpTally {
  onUplink(bytes: number): void
  onDownlink(bytes: number): void
  onDrop(reason: UdpDropReason): void
  onFlowStart(): void
  onFlowEnd(end: FlowEnd): void
}

interface UdpStreamOptions {
  readonly dialer: UdpDialer
  readonly share: UdpShare
  readonly tally: UdpTally
  readonly maxFlowsPerStream: number
  readonly idleTimeoutMs: number
  readonly queueBytes: number
  readonly queueDatagrams: number
  /** For everything that waits for this user. */
  readonly room: UserRoom
  readonly now: () => number
}

export class UdpStream implements StreamHandlers, UplinkSink, FlowListener {
  readonly #stream: StreamEnd
  readonly #context: TunnelContext
  readonly #options: UdpStreamOptions
  readonly #decoder = new UdpUplinkDecoder(this)
  readonly #flows: UdpFlowTable
  readonly #queue: DatagramQueue
  readonly #traces: boolean
  /** Read once per chunk: all datagrams of a chunk arrived at the same time. */
  #nowMs: number
  #uplinkBytes = 0
  #downlinkBytes = 0

  constructor(stream: StreamEnd, context: TunnelContext, options: UdpStreamOptions) {
    this.#stream = stream
    this.#context = context
    this.#options = options
    this.#nowMs = options.now()
    this.#traces = context.log.isLevelEnabled('trace')
    this.#flows = new UdpFlowTable({
      maxFlows: options.maxFlowsPerStream,
      idleTimeoutMs: options.idleTimeoutMs,
      share: options.share,
      onEnd: (end) => options.tally.onFlowEnd(end),
    })
    this.#queue = new DatagramQueue(stream.io, {
      maxBytes: options.queueBytes,
      maxDatagrams: options.queueDatagrams,
      room: options.room,
      onDrop: (reason) => options.tally.onDrop(reason),
    })
  }

  /** Runs until the client ends the stream, it is reset, or the context's signal fires. Never rejects. */
  async run(): Promise<TunnelEnd> {
    const reason = await new StreamLifetime(this.#stream, this.#context, this).run()
    return { reason, uplinkBytes: this.#uplinkBytes, downlinkBytes: this.#downlinkBytes }
  }

  /** @throws EndpointError `too_long` when the boundaries of the client's frames are lost. */
  onData(chunk: Buffer): void {
    this.#nowMs = this.#options.now()
    this.#decoder.push(chunk)
  }

  onClientEnd(): void {
    this.#flows.endAll()
    this.#queue.end()
  }

  onEnd(): void {
    this.#flows.endAll()
    this.#queue.close()
  }

  /** Ends flows that have been idle for too long. */
  sweep(nowMs: number): void {
    this.#flows.sweep(nowMs)
  }

  now(): number {
    return this.#options.now()
  }

  onDatagram(datagram: UplinkDatagram): void {
    const flow = this.#flows.find(datagram.key) ?? this.#openFlow(datagram)
    if (flow === undefined) return
    const { length } = datagram.payload
    const dropped = flow.send(datagram.payload, this.#nowMs)
    if (dropped !== undefined) {
      this.#options.tally.onDrop(dropped)
      return
    }
    this.#uplinkBytes += length
    this.#options.tally.onUplink(length)
  }

  onSkipped(reason: SkipReason): void {
    this.#options.tally.onDrop(reason)
  }

  onReply(reply: QueuedDatagram, payloadBytes: number): void {
    if (!this.#queue.push(reply)) return
    this.#downlinkBytes += payloadBytes
    this.#options.tally.onDownlink(payloadBytes)
  }

  onFlowError(flow: UdpFlow): void {
    this.#flows.end(flow, 'error')
  }

  /** A new flow for this datagram, or undefined when the datagram is dropped and counted. */
  #openFlow(datagram: UplinkDatagram): UdpFlow | undefined {
    const { key } = datagram
    const { tally, dialer } = this.#options
    const remembered = this.#flows.refusal(key, this.#nowMs)
    if (remembered !== undefined || !this.#flows.hasRoom) {
      tally.onDrop(remembered ?? 'flow_limit')
      return undefined
    }
    const { destination } = datagram
    try {
      const replyAddressing = datagram.replyAddressing()
      const flow = new UdpFlow({ key, destination, replyAddressing, dialer, listener: this })
      if (!this.#flows.add(flow)) {
        flow.close()
        tally.onDrop('flow_limit')
        return undefined
      }
      tally.onFlowStart()
      if (this.#traces) this.#trace(datagram)
      return flow
    } catch (error) {
      this.#refuse(key, destination.address, error)
      return undefined
    }
  }

  #refuse(key: string, address: string, cause: unknown): void {
    const error = isRefusal(cause) ? cause : new EndpointError('internal', 'UDP flow', { cause })
    this.#flows.refuse(key, error, this.#nowMs)
    this.#options.tally.onDrop(error.code)
    const { user, log, privacy } = this.#context
    const fields = { code: error.code, user, ...targetFields(privacy, address) }
    if (error.code === 'internal') log.error({ ...fields, ...faultFields(privacy, error) }, 'UDP flow failed')
    else log.debug(fields, 'UDP flow refused')
  }

  #trace(datagram: UplinkDatagram): void {
    const { address, port } = datagram.destination
    const target = targetFields(this.#context.privacy, `${address} ${port}`)
    this.#context.log.trace({ app: datagram.appName, ...target }, 'UDP flow')
  }
}
