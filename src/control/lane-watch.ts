/**
 * Notices lanes that do not come back to their event loops: a thread in an endless loop reports nothing, and its clients
 * would wait for ever. Every lane beats once a second into memory that it shares with the control thread, which looks
 * once a second. A second counts only if this thread was itself on time, and nobody debugs the process: otherwise all
 * of it was stopped, or the machine is too busy for anybody to be on time.
 */
import { url as debuggerAddress } from 'node:inspector'
import type { Clock, Timer } from '../clock.ts'

interface BeatingLane {
  /** Grows as long as the thread's event loop goes round. */
  readonly beats: number
}

interface LaneWatchOptions<Lane extends BeatingLane> {
  readonly clock: Clock
  /** Those that have to beat now. */
  readonly running: () => readonly Lane[]
  /** Called once for each that was silent too long. */
  readonly onSilent: (lane: Lane) => void
  readonly isDebugged?: () => boolean
}

interface Seen {
  beats: number
  silentLooks: number
}

const LOOK_MS = 1000
/** A look that is later than this says nothing about others. */
const LATE_MS = 500
export const MAX_SILENCE_SECS = 10
const MAX_SILENT_LOOKS = (MAX_SILENCE_SECS * 1000) / LOOK_MS

export class LaneWatch<Lane extends BeatingLane> {
  readonly #options: LaneWatchOptions<Lane>
  readonly #tick: Timer
  readonly #seen = new WeakMap<Lane, Seen>()
  #lookedAtMs: number

  constructor(options: LaneWatchOptions<Lane>) {
    this.#options = options
    this.#lookedAtMs = options.clock.now()
    this.#tick = options.clock.every(LOOK_MS, () => this.#look())
  }

  close(): void {
    this.#tick.cancel()
  }

  #look(): void {
    const { clock, running, onSilent } = this.#options
    const now = clock.now()
    const wasOnTime = now - this.#lookedAtMs < LOOK_MS + LATE_MS
    this.#lookedAtMs = now
    const counts = wasOnTime && !(this.#options.isDebugged ?? isDebugged)()
    for (const lane of running()) {
      const { beats } = lane
      const seen = this.#seen.get(lane)
      if (seen?.beats !== beats) this.#seen.set(lane, { beats, silentLooks: 0 })
      else if (counts && ++seen.silentLooks === MAX_SILENT_LOOKS) onSilent(lane)
    }
  }
}

/** A breakpoint stops one thread alone. */
function isDebugged(): boolean {
  return debuggerAddress() !== undefined
}
