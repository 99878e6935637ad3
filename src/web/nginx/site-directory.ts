/** A decoy site in a directory of the operator's. Nothing outside of it is served, whatever links lie in it. */
import { constants } from 'node:fs'
import { open, realpath } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { sep } from 'node:path'
import { DIRECTORY, FORBIDDEN, MISSING } from './site-files.ts'
import type { SiteEntry, SiteFile, SiteFiles } from './site-files.ts'

/** A link put in place of the file between the two calls is not followed; a FIFO is not waited for. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

export interface SiteDirectoryOptions {
  /** The directory; it may itself be a link, and may be replaced while we run. */
  root: string
  /** Files open at one time, each held by one answer under way. */
  maxOpenFiles: number
}

export class SiteDirectory implements SiteFiles {
  readonly #root: string
  readonly #maxOpenFiles: number
  #openFiles = 0

  constructor(options: SiteDirectoryOptions) {
    this.#root = options.root
    this.#maxOpenFiles = options.maxOpenFiles
  }

  get openFiles(): number {
    return this.#openFiles
  }

  async find(path: string): Promise<SiteEntry> {
    if (this.#openFiles >= this.#maxOpenFiles) return { kind: 'failed', cause: 'too many files are open' }
    this.#openFiles++
    try {
      const entry = await this.#open(path)
      if (entry.kind !== 'file') this.#openFiles--
      return entry
    } catch (error) {
      this.#openFiles--
      return entryOfError(error)
    }
  }

  async #open(path: string): Promise<SiteEntry> {
    const root = await realpath(this.#root, 'latin1')
    const real = await realpath(Buffer.from(toLatin1(this.#root) + path, 'latin1'), 'latin1')
    const prefix = root.endsWith(sep) ? root : root + sep
    if (real !== root && !real.startsWith(prefix)) return MISSING
    const handle = await open(Buffer.from(real, 'latin1'), OPEN_FLAGS)
    let file: SiteFile | undefined
    try {
      const stat = await handle.stat()
      if (stat.isDirectory()) return DIRECTORY
      if (!stat.isFile()) return MISSING
      file = new DirectoryFile(handle, stat.size, stat.mtimeMs, () => this.#openFiles--)
      return file
    } finally {
      if (file === undefined) await handle.close()
    }
  }
}

class DirectoryFile implements SiteFile {
  readonly kind = 'file'
  readonly sizeBytes: number
  readonly modifiedMs: number
  readonly #handle: FileHandle
  readonly #onClose: () => void
  #closed = false

  constructor(handle: FileHandle, sizeBytes: number, modifiedMs: number, onClose: () => void) {
    this.#handle = handle
    this.sizeBytes = sizeBytes
    this.modifiedMs = modifiedMs
    this.#onClose = onClose
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length)
    const { bytesRead } = await this.#handle.read(buffer, 0, length, offset)
    return buffer.subarray(0, bytesRead)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#onClose()
    // A failed close leaves nothing that we could still do.
    await this.#handle.close().catch(() => {})
  }
}

/** Our paths hold one character per byte; options hold ordinary text. */
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
