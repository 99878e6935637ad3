/** Time as a dependency, so that tests can move it. */

export interface Timer {
  /** Idempotent. */
  cancel(): void
}

export interface Clock {
  /** Monotonic milliseconds from an arbitrary zero, the same in all threads. */
  now(): number
  /** Milliseconds since the Unix epoch. */
  wall(): number
  /** Timers never keep the process alive. */
  after(delayMs: number, run: () => void): Timer
  every(periodMs: number, run: () => void): Timer
}

/** Waits, by `clock`. */
export function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.after(delayMs, resolve))
}

class SystemTimer implements Timer {
  readonly #handle: NodeJS.Timeout

  constructor(handle: NodeJS.Timeout) {
    this.#handle = handle
    handle.unref()
  }

  cancel(): void {
    clearTimeout(this.#handle)
  }
}

/** `performance.now()` counts from the start of its thread; this is what the threads have in common. */
const START_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now()

export const systemClock: Clock = {
  now: () => START_MS + performance.now(),
  wall: () => Date.now(),
  after: (delayMs, run) => new SystemTimer(setTimeout(run, delayMs)),
  every: (periodMs, run) => new SystemTimer(setInterval(run, periodMs)),
}
