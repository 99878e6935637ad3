/**
 * A directory for temporary files that no other user can read. While it creates a server, the HTTP/3 library writes the
 * private key to the temporary directory, readable by everyone and under a name that can be guessed; the directory is
 * the only part of that we can choose.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

let directory: string | undefined

/**
 * Points `TMPDIR` of this process, and of threads started later, to a directory of mode 0700 that is removed when the
 * process ends. Idempotent. Native code sees only what the main thread sets.
 */
export function usePrivateTemp(): void {
  if (directory !== undefined) return
  const created = mkdtempSync(join(tmpdir(), 'culvert-'))
  directory = created
  process.env['TMPDIR'] = created
  process.once('exit', removePrivateTemp)
}

/** For an end of the process that is not announced. */
export function removePrivateTemp(): void {
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
}
