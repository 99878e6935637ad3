/**
 * Notices that files have been replaced, also behind symbolic links as certificate tools leave them. It looks at
 * size and time on a tick: change notifications miss links and network file systems.
 */
import { stat } from 'node:fs/promises'
import type { Clock, Timer } from '../clock.ts'

/** How files were at one moment, by path. */
export type FileMarks = ReadonlyMap<string, string>

const PERIOD_MS = 10_000

/** To be taken before the files are read: what changes afterwards then differs from its mark. */
export async function markFiles(paths: Iterable<string>): Promise<FileMarks> {
  const marks = new Map<string, string>()
  for (const path of paths) marks.set(path, await markOf(path))
  return marks
}

export class FileWatch {
  readonly #tick: Timer
  readonly #onChange: () => void
  /** Undefined for a file of which it is not known how it was when it was read. */
  #marks = new Map<string, string | undefined>()
  #looking = false

  constructor(clock: Clock, onChange: () => void) {
    this.#onChange = onChange
    this.#tick = clock.every(PERIOD_MS, () => void this.#look())
  }

  /** A look is under way. */
  get looking(): boolean {
    return this.#looking
  }

  /** Watches these files instead. One that has no mark counts as changed at the next look. */
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
    // A list that has come meanwhile has marks of its own.
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
