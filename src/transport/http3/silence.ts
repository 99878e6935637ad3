/**
 * Tunnels whose target has ended while the client's side is still open. A client that has nothing more to say should
 * end its side, but some wait for us to do that; so a silent client counts as having ended.
 */
import type { Clock, Timer } from '../../clock.ts'

const SILENCE_MS = 5000
const TICK_MS = 500

export interface Speaker {
  /** What the client has sent so far. */
  readonly receivedBytes: number
  /** The client has been silent for {@link SILENCE_MS}. Called once. */
  onSilence(): void
}

export class SilenceWatch {
  readonly #clock: Clock
  readonly #speakers = new Map<Speaker, { bytes: number; since: number }>()
  #timer: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(speaker: Speaker): void {
    this.#speakers.set(speaker, { bytes: speaker.receivedBytes, since: this.#clock.now() })
    this.#timer ??= this.#clock.every(TICK_MS, () => this.#tick())
  }

  remove(speaker: Speaker): void {
    this.#speakers.delete(speaker)
  }

  destroy(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#speakers.clear()
  }

  #tick(): void {
    const now = this.#clock.now()
    for (const [speaker, heard] of this.#speakers) {
      if (speaker.receivedBytes !== heard.bytes) {
        heard.bytes = speaker.receivedBytes
        heard.since = now
      } else if (now - heard.since >= SILENCE_MS) {
        this.#speakers.delete(speaker)
        speaker.onSilence()
      }
    }
    if (this.#speakers.size === 0) this.destroy()
  }
}
