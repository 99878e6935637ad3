/** A decoy site in a directory of the operator's. Nothing outside it is served, whatever links it contains. */
import { constants } from 'node:fs'
import type { Stats } from 'node:fs'
import { open, realpath } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { sep } from 'node:path'
import { DIRECTORY, FORBIDDEN, MISSING } from './site-files.ts'
import type { SiteEntry, SiteFile, SiteFiles } from './site-files.ts'

/** If a link replaces the file between the two calls it is not followed, and opening a FIFO does not block. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

interface SiteDirectoryOptions {
  /** The directory; it may be a link itself, and may be replaced while we run. */
  root: string
  /** Files open at one time, each only while it is being read. Above that, readers wait for their turn. */
  maxOpenFiles: number
}

export class SiteDirectory implements SiteFiles {
  readonly #root: string
  readonly #places: Places

  constructor(options: SiteDirectoryOptions) {
    this.#root = options.root
    this.#places = new Places(options.maxOpenFiles)
  }

  get openFiles(): number {
    return this.#places.taken
  }

  async find(path: string): Promise<SiteEntry> {
    await this.#places.take()
    try {
      const entry = await this.#open(path)
      if (entry.kind !== 'file') this.#places.giveBack()
      return entry
    } catch (error) {
      this.#places.giveBack()
      return entryOfError(error)
    }
  }

  async #open(path: string): Promise<SiteEntry> {
    const root = await realpath(this.#root, 'latin1')
    const real = await realpath(Buffer.from(toLatin1(this.#root) + path, 'latin1'), 'latin1')
    const prefix = root.endsWith(sep) ? root : root + sep
    if (real !== root && !real.startsWith(prefix)) return MISSING
    const { handle, stat } = await openRegular(Buffer.from(real, 'latin1'))
    if (handle !== undefined)
      return new DirectoryFile(Buffer.from(real, 'latin1'), handle, stat, this.#places)
    return stat.isDirectory() ? DIRECTORY : MISSING
  }
}

/** Without a handle when it is not a regular file. */
async function openRegular(path: Buffer): Promise<{ handle: FileHandle | undefined; stat: Stats }> {
  const handle = await open(path, OPEN_FLAGS)
  let kept = false
  try {
    const stat = await handle.stat()
    kept = stat.isFile()
    return { handle: kept ? handle : undefined, stat }
  } finally {
    if (!kept) await handle.close()
  }
}

/** Opened for a moment at a time: an answer that waits for its client holds no descriptor. */
class DirectoryFile implements SiteFile {
  readonly kind = 'file'
  readonly #path: Buffer
  readonly #stat: Stats
  readonly #places: Places
  #handle: FileHandle | undefined
  #closed = false

  constructor(path: Buffer, handle: FileHandle, stat: Stats, places: Places) {
    this.#path = path
    this.#handle = handle
    this.#stat = stat
    this.#places = places
  }

  get sizeBytes(): number {
    return this.#stat.size
  }

  get modifiedMs(): number {
    return this.#stat.mtimeMs
  }

  async read(offset: number, length: number): Promise<Buffer> {
    if (this.#closed) throw new Error('the file is closed')
    this.#handle ??= await this.#reopen()
    const buffer = Buffer.allocUnsafe(length)
    const { bytesRead } = await this.#handle.read(buffer, 0, length, offset)
    return buffer.subarray(0, bytesRead)
  }

  async rest(): Promise<void> {
    const handle = this.#handle
    if (handle === undefined) return
    this.#handle = undefined
    // There is nothing we could do about a failed close.
    await handle.close().catch(() => {})
    this.#places.giveBack()
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.rest()
  }

  async #reopen(): Promise<FileHandle> {
    await this.#places.take()
    let handle: FileHandle | undefined
    try {
      const opened = await openRegular(this.#path)
      handle = opened.handle
      if (handle !== undefined && isSame(opened.stat, this.#stat)) return handle
      throw new Error('the file was changed')
    } catch (error) {
      await handle?.close().catch(() => {})
      this.#places.giveBack()
      throw error
    }
  }
}

function isSame(one: Stats, other: Stats): boolean {
  return (
    one.dev === other.dev && one.ino === other.ino && one.size === other.size && one.mtimeMs === other.mtimeMs
  )
}

/** A fixed number of places, given out in the order of requests. */
class Places {
  readonly #waiting: (() => void)[] = []
  readonly #max: number
  #taken = 0

  constructor(max: number) {
    this.#max = max
  }

  get taken(): number {
    return this.#taken
  }

  take(): Promise<void> {
    if (this.#taken >= this.#max) return new Promise((resolve) => this.#waiting.push(resolve))
    this.#taken++
    return Promise.resolve()
  }

  giveBack(): void {
    const next = this.#waiting.shift()
    // The place goes directly to the next in line, if there is one.
    if (next === undefined) this.#taken--
    else next()
  }
}

/** Our paths have one character per byte; options contain ordinary text. */
function toLatin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

function entryOfError(error: unknown): SiteEntry {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ENAMETOOLONG':
    case 'ELOOP':
    // Sockets and devices without a driver.
    case 'ENXIO':
      return MISSING
    case 'EACCES':
    case 'EPERM':
      return FORBIDDEN
    default:
      return { kind: 'failed', cause: error }
  }
}
