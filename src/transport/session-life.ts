/** What the sessions of all HTTP versions have in common: their state, the drain and the end. */
import type { Clock, Timer } from '../clock.ts'
import type { Counters } from '../counters.ts'
import type { ProtocolLabel, Session } from '../contract/session.ts'

/**
 * Specification 10.1 and 10.2, in GOAWAY and in the close of a QUIC connection: the credentials of the session are no
 * longer accepted. Clients look only at the low byte of a code and take both 0x1F and 0x64 for this, so no other code
 * may end in them.
 */
export const AUTHENTICATION_REQUIRED = 0x1f

export abstract class SessionLife {
  abstract readonly protocol: ProtocolLabel
  readonly #clock: Clock
  readonly #counters: Counters
  readonly #closed = Promise.withResolvers<void>()
  #state: Session['state'] = 'open'
  #error: Error | undefined
  /** The reason came from the client or the network. */
  #failed = false
  #deadline: Timer | undefined

  constructor(clock: Clock, counters: Counters) {
    this.#clock = clock
    this.#counters = counters
  }

  get state(): Session['state'] {
    return this.#state
  }

  /** Why it did not end in order, as far as known. */
  protected get error(): Error | undefined {
    return this.#error
  }

  trust(): void {}

  close({ graceMs }: { graceMs: number }): Promise<void> {
    if (this.#state !== 'closed') {
      this.#deadline ??= this.#clock.after(graceMs, () => this.destroy(new Error('grace has ended')))
    }
    if (this.#state === 'open') {
      this.#state = 'draining'
      this.onDrain(graceMs)
    }
    return this.#closed.promise
  }

  destroy(reason: Error): void {
    if (this.#state === 'closed') return
    this.#error ??= reason
    this.onDestroy(reason)
  }

  /** No more requests are taken; those under way go on. */
  protected abstract onDrain(graceMs: number): void

  /** Ends the connection now; {@link settle} follows. */
  protected abstract onDestroy(reason: Error): void

  /** Takes no more requests after those under way. */
  protected drain(): void {
    if (this.#state === 'open') this.#state = 'draining'
  }

  /** A protocol error, or the connection is lost. The first reason counts, be it this or that of {@link destroy}. */
  protected fail(reason: Error): void {
    if (this.#error !== undefined) return
    this.#error = reason
    this.#failed = true
  }

  /** The connection has ended. */
  protected settle(): void {
    this.#state = 'closed'
    if (this.#failed) this.#counters.count('session_errors', this.protocol)
    this.#deadline?.cancel()
    this.#closed.resolve()
  }
}
