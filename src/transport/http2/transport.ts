/** HTTP/2 (RFC 9113, specification 3.1) as sessions and requests. Receives a TLS socket on which ALPN chose `h2`. */
import type { Timer } from '../../clock.ts'
import { LingerQueue } from '../linger.ts'
import type { TransportConnection } from '../tls.ts'
import type { Http2Options } from './announcement.ts'
import { Http2Session } from './session.ts'
import type { Http2Dependencies, SessionShares } from './session.ts'
import { DownloadBudget } from './held-downloads.ts'
import { UploadBudget } from './window-growth.ts'

const CHECK_EVERY_MS = 1000

export class Http2Transport {
  readonly #options: Http2Options
  readonly #deps: Http2Dependencies
  readonly #shares: SessionShares
  readonly #sessions = new Set<Http2Session>()
  /** Runs only while there are sessions. */
  #tick: Timer | undefined

  constructor(options: Http2Options, deps: Http2Dependencies) {
    this.#options = options
    this.#deps = deps
    const uploads = new UploadBudget()
    const downloads = new DownloadBudget()
    deps.counters.gauge('http2_held_bytes', 'uplink', () => uploads.heldBytes + uploads.overheadBytes)
    deps.counters.gauge('http2_held_bytes', 'downlink', () => downloads.heldBytes)
    this.#shares = {
      linger: new LingerQueue(deps.clock),
      uploads,
      downloads,
      onEnd: (session) => this.#onEnd(session),
    }
  }

  /** Takes the socket over. */
  accept(connection: TransportConnection): void {
    const session = new Http2Session(connection, this.#options, this.#deps, this.#shares)
    this.#sessions.add(session)
    this.#tick ??= this.#deps.clock.every(CHECK_EVERY_MS, () => this.#check())
    session.listen()
  }

  /** Stops the timers. Whoever has the sessions ends them. */
  destroy(): void {
    this.#shares.linger.destroy()
    this.#tick?.cancel()
    this.#tick = undefined
  }

  #check(): void {
    const now = this.#deps.clock.now()
    for (const session of this.#sessions) session.check(now)
  }

  #onEnd(session: Http2Session): void {
    this.#sessions.delete(session)
    if (this.#sessions.size > 0) return
    this.#tick?.cancel()
    this.#tick = undefined
  }
}
