/**
 * The content of a request and of its answer. Both directions run at once and neither waits for the other; each stops
 * reading when the other side does not take more.
 */
import type { Readable, Writable } from 'node:stream'
import { Pump } from './pump.ts'
import type { PumpOptions, PumpOutcome } from './pump.ts'

interface FlowEvents {
  /** Both directions are over, and the client has the whole answer. */
  onComplete(): void
  /** The client broke off: what the origin has is not a complete request. */
  onRequestCut(): void
  /** The origin broke off: what the client has is not a complete answer. */
  onAnswerCut(): void
  /** The client takes no more of the answer. */
  onClientLost(): void
}

/** None of the events comes before the first content starts, nor after `stop`. */
export class ContentFlow {
  readonly #body: () => Readable
  readonly #events: FlowEvents
  #uplink: Pump | undefined
  #downlink: Pump | undefined
  /** Nothing more goes to the origin. */
  #uplinkDone = true
  #uplinkCut = false
  #downlinkDone = false

  /** `body` returns the content of the client's request. */
  constructor(body: () => Readable, events: FlowEvents) {
    this.#body = body
    this.#events = events
  }

  get uplinkBytes(): number {
    return this.#uplink?.bytes ?? 0
  }

  get downlinkBytes(): number {
    return this.#downlink?.bytes ?? 0
  }

  /** Not all of the request's content went to the origin. */
  get uplinkCut(): boolean {
    return this.#uplinkCut
  }

  /** The client has the whole answer. */
  get downlinkDone(): boolean {
    return this.#downlinkDone
  }

  /** Without this call the request has no content. */
  startUplink(sink: Writable, options: Pick<PumpOptions, 'limitBytes'> = {}): void {
    this.#uplinkDone = false
    const onDone = (outcome: PumpOutcome): void => this.#onUplinkDone(outcome)
    this.#uplink = new Pump(this.#body(), sink, { ...options, onDone })
  }

  startDownlink(source: Readable, sink: Writable, options: Pick<PumpOptions, 'isWhole'> = {}): void {
    const onDone = (outcome: PumpOutcome): void => this.#onDownlinkDone(outcome)
    this.#downlink = new Pump(source, sink, { ...options, onDone })
  }

  /** In place of `startDownlink`, for an answer without content. */
  skipDownlink(): void {
    this.#onDownlinkDone('ended')
  }

  /**
   * The origin reads no more, or need not. What the client still sends is read and discarded, so that the client gets
   * to read the answer.
   */
  cutUplink(): void {
    if (!this.#uplinkDone) this.#discardUplink()
  }

  /** Idempotent; leaves all streams alone. */
  stop(): void {
    this.#uplink?.stop()
    this.#downlink?.stop()
  }

  #onUplinkDone(outcome: PumpOutcome): void {
    this.#uplinkDone = true
    if (outcome === 'ended') this.#completeWhenDone()
    // The origin's answer still goes to the client; errors are reported elsewhere.
    else if (outcome === 'sink_lost') this.#discardUplink()
    else this.#events.onRequestCut()
  }

  #discardUplink(): void {
    this.#uplinkDone = this.#uplinkCut = true
    this.#uplink?.stop()
    this.#body().resume()
    this.#completeWhenDone()
  }

  #onDownlinkDone(outcome: PumpOutcome): void {
    if (outcome === 'source_lost') return this.#events.onAnswerCut()
    if (outcome !== 'ended') return this.#events.onClientLost()
    this.#downlinkDone = true
    // The answer is complete: the origin needs no more of the request.
    if (this.#uplinkDone) this.#completeWhenDone()
    else this.#discardUplink()
  }

  #completeWhenDone(): void {
    if (this.#uplinkDone && this.#downlinkDone) this.#events.onComplete()
  }
}
