/**
 * Disk space for spilled bytes: one file without a name per stream. Its blocks are reused once they have been read, so
 * it grows to the largest backlog and not to the length of the stream. Nothing stays on disk: the file is unlinked
 * before its first byte is written.
 */
import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'

/** Most bytes that are written or read at once. */
export const BLOCK_BYTES = 256 * 1024

/** A file smaller than this is not worth shrinking. */
const SHRUNK_BLOCKS = 16

/** Linux's O_TMPFILE, for which Node has no name; it contains O_DIRECTORY. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY

/** Bytes that are stored on disk. */
export interface StoredBlock {
  readonly index: number
  readonly bytes: number
}

export class SpillFile {
  readonly #directory: string
  #handle: Promise<FileHandle> | undefined
  readonly #free: number[] = []
  #blocks = 0
  #operations = 0
  #closing = false
  #shrinking: Promise<void> | undefined

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Writes at most {@link BLOCK_BYTES}, which must not change until it resolves. */
  async write(bytes: Buffer): Promise<StoredBlock> {
    if (this.#shrinking !== undefined) await this.#shrinking
    const index = this.#free.pop() ?? this.#blocks++
    return this.#operate(async (file) => {
      await writeAll(file, bytes, index * BLOCK_BYTES)
      return { index, bytes: bytes.length }
    })
  }

  /** Reads a block and frees its place. */
  async take({ index, bytes }: StoredBlock): Promise<Buffer> {
    return this.#operate(async (file) => {
      const chunk = Buffer.allocUnsafeSlow(bytes)
      let read = 0
      while (read < bytes) {
        const { bytesRead } = await file.read(chunk, read, bytes - read, index * BLOCK_BYTES + read)
        if (bytesRead === 0) throw new Error('spill file is shorter than what was written')
        read += bytesRead
      }
      this.#free.push(index)
      return chunk
    })
  }

  /** Frees the place of a block that nobody will read. */
  drop({ index }: StoredBlock): void {
    this.#free.push(index)
  }

  /** Gives the disk space back if nothing is stored and it is worth a system call. The file stays open. */
  shrink(): void {
    if (this.#operations > 0 || this.#blocks < SHRUNK_BLOCKS || this.#free.length < this.#blocks) return
    this.#free.length = 0
    this.#blocks = 0
    // Writes wait for it, because the kernel would not order them. If shrinking fails, that only costs space.
    this.#shrinking = this.#operate((file) => file.truncate(0))
      .catch(() => undefined)
      .finally(() => (this.#shrinking = undefined))
  }

  /** Closes the file once operations under way have ended. Idempotent; never rejects. */
  close(): void {
    if (this.#closing) return
    this.#closing = true
    if (this.#operations === 0) this.#release()
  }

  async #operate<T>(run: (file: FileHandle) => Promise<T>): Promise<T> {
    if (this.#closing) throw new Error('spill file is closed')
    this.#operations++
    try {
      this.#handle ??= openUnnamed(this.#directory)
      return await run(await this.#handle)
    } finally {
      this.#operations--
      if (this.#closing && this.#operations === 0) this.#release()
    }
  }

  #release(): void {
    const handle = this.#handle
    this.#handle = undefined
    void handle?.then((file) => file.close()).catch(() => undefined)
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let written = 0
  while (written < bytes.length) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written)
    if (bytesWritten === 0) throw new Error('spill file takes no more')
    written += bytesWritten
  }
}

/** A file without a name, mode 0600; on file systems without O_TMPFILE it has a name for a moment. */
async function openUnnamed(directory: string): Promise<FileHandle> {
  try {
    if (process.platform === 'linux') return await open(directory, constants.O_RDWR | O_TMPFILE, 0o600)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EOPNOTSUPP' && code !== 'EISDIR' && code !== 'EINVAL') throw error
  }
  const path = join(directory, `spill-${randomUUID()}`)
  const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600)
  await unlink(path)
  return file
}
