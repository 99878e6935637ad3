/**
 * Notices that files have been replaced, also behind symbolic links as certificate tools leave them. It looks at
 * size and time on a tick: change notifications miss links and network file systems.
 */
import { stat } from 'node:fs/promises'
import type { Clock, Timer } from '../clock.ts'

const PERIOD_MS = 10_000

export class FileWatch {
  readonly #tick: Timer
  readonly #onChange: () => void
  #marks = new Map<string, string>()
  #looking = false

  constructor(clock: Clock, onChange: () => void) {
    this.#onChange = onChange
    this.#tick = clock.every(PERIOD_MS, () => void this.#look())
  }

  /** A look is under way. */
  get looking(): boolean {
    return this.#looking
  }

  /** Watches these files instead; resolves when it knows how they are now. */
  async replace(paths: readonly string[]): Promise<void> {
    const marks = new Map<string, string>()
    for (const path of paths) marks.set(path, await markOf(path))
    this.#marks = marks
  }

  close(): void {
    this.#tick.cancel()
    this.#marks.clear()
  }

  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    const marks = this.#marks
    let changed = false
    for (const [path, before] of marks) {
      const now = await markOf(path)
      if (now !== before) changed = true
      marks.set(path, now)
    }
    this.#looking = false
    // A list that was replaced meanwhile has been read anew anyway.
    if (changed && marks === this.#marks) this.#onChange()
  }
}

async function markOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path)
    return `${mtimeMs} ${size} ${ino}`
  } catch {
    // Gone for a moment while it is being replaced: to return is a change, to vanish is one too.
    return 'missing'
  }
}
