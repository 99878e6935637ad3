/**
 * Notices that files have been replaced, even behind symbolic links as certificate tools leave them. Compares size and
 * time on a tick, because change notifications miss links and network file systems.
 */
import { stat } from 'node:fs/promises'
import type { Clock, Timer } from '../clock.ts'

/** The state of files at one moment, by path. */
type FileMarks = ReadonlyMap<string, string>

const PERIOD_MS = 10_000

/** Take the marks before reading the files: whatever changes afterwards then differs from its mark. */
export async function markFiles(paths: Iterable<string>): Promise<FileMarks> {
  const marks = new Map<string, string>()
  for (const path of paths) marks.set(path, await markOf(path))
  return marks
}

export class FileWatch {
  readonly #tick: Timer
  readonly #onChange: () => void
  /** Undefined for a file whose state at the time it was read is not known. */
  #marks = new Map<string, string | undefined>()
  #looking = false

  constructor(clock: Clock, onChange: () => void) {
    this.#onChange = onChange
    this.#tick = clock.every(PERIOD_MS, () => void this.#look())
  }

  /** Whether a check is under way. */
  get looking(): boolean {
    return this.#looking
  }

  /** Watches these files instead. A file without a mark counts as changed at the next check. */
  replace(paths: Iterable<string>, marks: FileMarks): void {
    this.#marks = new Map([...paths].map((path) => [path, marks.get(path)]))
  }

  close(): void {
    this.#tick.cancel()
    this.#marks = new Map()
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
    // A list that arrived in the meantime has marks of its own.
    if (changed && marks === this.#marks) this.#onChange()
  }
}

async function markOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path)
    return `${mtimeMs} ${size} ${ino}`
  } catch {
    // It is gone while it is being replaced: disappearing and returning both count as changes.
    return 'missing'
  }
}
