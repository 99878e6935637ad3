/**
 * Log lines of a lane on their way to the control thread. Each message wakes that thread and makes it write to the log,
 * which for a short session costs a tenth of everything: so lines leave together, a moment late.
 */
import { symbols } from 'pino'
import type { Clock, Timer } from '../clock.ts'

/** The longest that a line waits. */
const GATHER_MS = 50
/** So many characters do not wait for more. */
const MAX_WAITING_CHARACTERS = 65_536
/** pino's number for `error`. Of these and worse, none waits: they may be the last thing that the lane says. */
const URGENT_LEVEL = 50

/** What pino writes to. */
export class LogLines {
  readonly [symbols.needsMetadataGsym] = true
  /** Of the line that is being written; pino sets it, and the others, which nobody needs. */
  lastLevel = 0
  lastMsg = ''
  lastObj: object = {}
  lastTime = ''
  lastLogger: unknown
  readonly #clock: Clock
  readonly #send: (lines: string) => void
  #waiting = ''
  #timer: Timer | undefined
  #ending = false

  /** `send` gets complete lines, newlines included, in the order in which they were written. */
  constructor(clock: Clock, send: (lines: string) => void) {
    this.#clock = clock
    this.#send = send
  }

  write(line: string): void {
    this.#waiting += line
    const urgent = this.#ending || this.lastLevel >= URGENT_LEVEL
    if (urgent || this.#waiting.length >= MAX_WAITING_CHARACTERS) return this.flush()
    this.#timer ??= this.#clock.after(GATHER_MS, () => this.flush())
  }

  /** Sends what waits. To be called before anything else is sent, which is never to overtake a line. */
  flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const lines = this.#waiting
    this.#waiting = ''
    if (lines !== '') this.#send(lines)
  }

  /** From now on no line waits: the thread may be stopped at any moment. */
  end(): void {
    this.#ending = true
    this.flush()
  }
}
