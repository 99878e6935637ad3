/** All client sessions of a lane: which there are, when idle ones end, and the drain. */
import type { Clock, Timer } from '../clock.ts'
import type { Counters } from '../counters.ts'
import type { ProtocolLabel, Session } from '../contract/session.ts'

const SWEEPS_PER_TIMEOUT = 20
const MAX_SWEEP_MS = 5000
/** How long a session that ends because it is idle may still take to say goodbye. */
const IDLE_CLOSE_GRACE_MS = 5000

interface Presence {
  lastActiveAt: number
}

export class SessionRegistry {
  readonly #clock: Clock
  readonly #idleTimeoutMs: number
  readonly #sessions = new Map<Session, Presence>()
  readonly #tick: Timer
  #draining = false

  constructor(options: { idleTimeoutMs: number }, deps: { clock: Clock; counters: Counters }) {
    this.#clock = deps.clock
    this.#idleTimeoutMs = options.idleTimeoutMs
    const periodMs = Math.min(MAX_SWEEP_MS, Math.ceil(options.idleTimeoutMs / SWEEPS_PER_TIMEOUT))
    this.#tick = deps.clock.every(periodMs, () => this.#sweep())
    for (const protocol of ['HTTP1', 'HTTP2', 'HTTP3'] as const) {
      deps.counters.gauge('client_sessions', protocol, () => this.#count(protocol))
    }
    deps.counters.gauge('open_streams', () => this.#countStreams())
  }

  /** A session that arrives while the lane is draining is closed at once. */
  add(session: Session): void {
    // Before it is closed: it may remove itself on the spot.
    this.#sessions.set(session, { lastActiveAt: this.#clock.now() })
    if (this.#draining) void session.close({ graceMs: 0 })
  }

  sessions(): Iterable<Session> {
    return this.#sessions.keys()
  }

  remove(session: Session): void {
    this.#sessions.delete(session)
  }

  /** A request has arrived, or a stream has ended: the idle time starts over. */
  touch(session: Session): void {
    const presence = this.#sessions.get(session)
    if (presence) presence.lastActiveAt = this.#clock.now()
  }

  /** Drains all sessions; resolves when none is left, at the latest after `graceMs`. */
  async close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#tick.cancel()
    this.#draining = true
    await Promise.all([...this.#sessions.keys()].map((session) => session.close({ graceMs })))
  }

  destroy(reason: Error): void {
    this.#tick.cancel()
    for (const session of this.#sessions.keys()) session.destroy(reason)
  }

  #sweep(): void {
    const now = this.#clock.now()
    for (const [session, presence] of this.#sessions) {
      if (session.openStreams > 0) presence.lastActiveAt = now
      else if (now - presence.lastActiveAt >= this.#idleTimeoutMs && session.state === 'open') {
        void session.close({ graceMs: IDLE_CLOSE_GRACE_MS })
      }
    }
  }

  #count(protocol: ProtocolLabel): number {
    let count = 0
    for (const session of this.#sessions.keys()) if (session.protocol === protocol) count++
    return count
  }

  #countStreams(): number {
    let count = 0
    for (const session of this.#sessions.keys()) count += session.openStreams
    return count
  }
}
