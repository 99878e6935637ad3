/**
 * What can be found out about the packets of one session. Asking waits for the native thread: some microseconds at
 * rest, milliseconds when it is busy.
 */
export interface WireSample {
  /** Bytes of all packets sent so far, including headers, acknowledgements and retransmissions. */
  readonly sentBytes: number
  readonly rttMs: number
}

/** The part of the native server that provides it. */
export interface WirePort {
  /** Undefined when the session is gone. */
  sample(session: number): WireSample | undefined
  /** An event follows when the client acknowledges something that was not acknowledged before. */
  ping(session: number): void
}

export class Wire {
  readonly session: number
  readonly #port: WirePort
  #pings = 0
  /** How many pings have been answered; they are answered in order. */
  answered = 0
  /** When the last of them was. */
  answeredAt = -Infinity

  constructor(session: number, port: WirePort) {
    this.session = session
    this.#port = port
  }

  sample(): WireSample | undefined {
    return this.#port.sample(this.session)
  }

  /** Returns the number of the ping: it is answered when `answered` has reached that. */
  ping(): number {
    this.#port.ping(this.session)
    return ++this.#pings
  }

  onPing(now: number): void {
    this.answered++
    this.answeredAt = now
  }
}
