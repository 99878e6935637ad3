/** How much nginx lets a connection do before it ends it. Users are held to the frames of PRIORITY alone. */
import type { Clock } from '../../clock.ts'

/** `keepalive_requests` and `keepalive_time`. */
const KEEPALIVE_REQUESTS = 1000
const KEEPALIVE_TIME_MS = 3_600_000
/** How many streams Debian's nginx refuses before it ends. */
const MAX_REFUSED = 129
/** PRIORITY frames that it takes at first, and for each request. */
const PRIORITIES = 128
/** Of what arrives, an eighth must be of use, but for this much. */
const USELESS_ALLOWANCE_BYTES = 8_388_608
const USEFUL_SHARE = 8

export class VisitorAllowance {
  readonly #clock: Clock
  readonly #startedAt: number
  #requests = 0
  #refused = 0
  #priorities = PRIORITIES
  #receivedBytes = 0
  #usefulBytes = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#startedAt = clock.now()
  }

  /** Whether this request is the last that is taken. */
  isLastRequest(): boolean {
    this.#requests++
    this.#priorities += PRIORITIES
    const ageMs = this.#clock.now() - this.#startedAt
    return this.#requests >= KEEPALIVE_REQUESTS || ageMs > KEEPALIVE_TIME_MS
  }

  /** False when so many have been refused that the connection ends. */
  mayRefuse(): boolean {
    return ++this.#refused <= MAX_REFUSED
  }

  /** Uses up one of the PRIORITY frames; false when it was the last. */
  takePriority(): boolean {
    return --this.#priorities > 0
  }

  /** Part of a head, or content that somebody wants. */
  onUseful(bytes: number): void {
    this.#usefulBytes += bytes
  }

  /** After each read, as nginx does. False when nearly all that arrived was of no use to anybody. */
  mayReceive(bytes: number): boolean {
    this.#receivedBytes += bytes
    return this.#receivedBytes <= USELESS_ALLOWANCE_BYTES + USEFUL_SHARE * this.#usefulBytes
  }
}
