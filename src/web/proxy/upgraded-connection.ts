/** The two connections of an exchange that has left HTTP (WebSocket), joined. */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../clock.ts'
import type { StreamEnd } from '../../contract/stream-end.ts'
import { Pump } from './pump.ts'

/** How long one side may keep its half open after the other connection is gone. */
const LINGER_MS = 5000

export class UpgradedConnection {
  readonly #client: StreamEnd
  readonly #origin: Duplex
  readonly #uplink: Pump
  readonly #downlink: Pump
  readonly #clock: Clock
  readonly #onDone: () => void
  #done = false

  /** `onDone` is called once, when nothing moves any more. */
  constructor(client: StreamEnd, origin: Duplex, clock: Clock, onDone: () => void) {
    this.#client = client
    this.#origin = origin
    this.#clock = clock
    this.#onDone = onDone
    client.io.on('error', ignoreError)
    origin.on('error', ignoreError)
    this.#uplink = new Pump(client.io, origin, {
      onDone: (outcome) => {
        // The origin took its leave; whether in order, its other half tells.
        if (outcome === 'sink_lost') client.io.resume()
        if (outcome === 'source_lost') this.destroy()
        else this.#check()
      },
    })
    this.#downlink = new Pump(origin, client.io, {
      onDone: (outcome) => {
        if (outcome === 'ended') this.#check()
        else this.destroy()
      },
    })
  }

  /** Ends both connections now. Idempotent. */
  destroy(): void {
    if (this.#done) return
    this.#client.reset('cancel')
    this.#origin.destroy()
    this.#finish()
  }

  #check(): void {
    if (!this.#uplink.done || !this.#downlink.done) return
    const { io } = this.#client
    if (!io.destroyed) {
      // Its last bytes may be on their way; it has said goodbye or has nobody left to talk to.
      const timer = this.#clock.after(LINGER_MS, () => this.#client.reset('no_error'))
      io.once('close', () => timer.cancel())
      io.resume()
    }
    this.#finish()
  }

  #finish(): void {
    if (this.#done) return
    this.#done = true
    this.#uplink.stop()
    this.#downlink.stop()
    this.#onDone()
  }
}

function ignoreError(): void {}
