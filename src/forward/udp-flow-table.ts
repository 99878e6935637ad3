/**
 * The flows of one `_udp2` stream (specification 6.5), and the destinations that were refused. When a limit is reached,
 * the stream's own longest idle flow makes room: a client with many flows (peer to peer) hurts only itself, and can
 * still resolve names.
 */
import type { EndpointError, ErrorCode } from '../errors.ts'
import type { UdpShare } from './udp-budget.ts'
import type { FlowEnd, UdpFlow } from './udp-flow.ts'

/** How many refused destinations are remembered; the oldest is forgotten first. */
const MAX_REFUSED = 256
/** How long a refusal is remembered: a changed policy takes effect after this. */
const REFUSED_MS = 10_000
/** The same for a reason that may soon be over (no descriptor left). */
const REFUSED_BRIEFLY_MS = 250

interface Refusal {
  readonly code: ErrorCode
  readonly untilMs: number
}

interface UdpFlowTableOptions {
  readonly maxFlows: number
  readonly idleTimeoutMs: number
  readonly share: UdpShare
  /** Called once for each flow that was added, when it has ended. */
  readonly onEnd: (end: FlowEnd) => void
}

export class UdpFlowTable {
  readonly #options: UdpFlowTableOptions
  readonly #flows = new Map<string, UdpFlow>()
  readonly #refused = new Map<string, Refusal>()

  constructor(options: UdpFlowTableOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#flows.size
  }

  find(key: string): UdpFlow | undefined {
    return this.#flows.get(key)
  }

  /** Why this flow was refused a short while ago, if it was. */
  refusal(key: string, nowMs: number): ErrorCode | undefined {
    const refusal = this.#refused.get(key)
    if (refusal === undefined) return undefined
    if (refusal.untilMs > nowMs) return refusal.code
    this.#refused.delete(key)
    return undefined
  }

  refuse(key: string, error: EndpointError, nowMs: number): void {
    const oldest = this.#refused.keys().next().value
    if (this.#refused.size >= MAX_REFUSED && oldest !== undefined) this.#refused.delete(oldest)
    const rememberMs = error.code === 'limit_exceeded' ? REFUSED_BRIEFLY_MS : REFUSED_MS
    this.#refused.set(key, { code: error.code, untilMs: nowMs + rememberMs })
  }

  /** Whether a flow can be added; a stream that has flows can always replace one of them. */
  get hasRoom(): boolean {
    return this.size > 0 || !this.#options.share.isFull
  }

  /**
   * Adds a flow, if necessary in place of the one that was idle longest. False when there is no place for it: other
   * streams, also in other lanes, may have been faster.
   */
  add(flow: UdpFlow): boolean {
    const { share, maxFlows } = this.#options
    if (this.size >= maxFlows) this.#evict()
    if (!share.take() && !(this.#evict() && share.take())) return false
    this.#flows.set(flow.key, flow)
    return true
  }

  /** Closes a flow and frees its place. Does nothing when the flow is already gone. */
  end(flow: UdpFlow, end: FlowEnd): void {
    if (this.#flows.get(flow.key) !== flow) return
    this.#flows.delete(flow.key)
    flow.close()
    this.#options.share.release()
    this.#options.onEnd(end)
  }

  /** Ends flows that have been unused for too long. */
  sweep(nowMs: number): void {
    for (const flow of this.#flows.values()) {
      const end = flow.expiry(nowMs, this.#options.idleTimeoutMs)
      if (end !== undefined) this.end(flow, end)
    }
  }

  endAll(): void {
    for (const flow of this.#flows.values()) this.end(flow, 'stream_ended')
    this.#refused.clear()
  }

  /** Ends the flow that was idle longest, if there is one. */
  #evict(): boolean {
    const oldest = this.#longestIdle()
    if (oldest !== undefined) this.end(oldest, 'evicted')
    return oldest !== undefined
  }

  #longestIdle(): UdpFlow | undefined {
    let oldest: UdpFlow | undefined
    for (const flow of this.#flows.values()) {
      if (oldest === undefined || flow.lastUsedMs < oldest.lastUsedMs) oldest = flow
    }
    return oldest
  }
}
