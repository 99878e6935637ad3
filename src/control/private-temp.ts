/**
 * A directory for temporary files that no other user can read. The HTTP/3 library writes the private key to the
 * directory for temporary files, readable for all and under a name that can be guessed, while a server is made; the
 * directory is the only thing about it that can be chosen.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

let directory: string | undefined

/**
 * Points `TMPDIR` of this process, and of threads started later, to a directory of mode 0700 that goes with the
 * process. Idempotent. Native code sees only what the main thread sets.
 */
export function usePrivateTemp(): void {
  if (directory !== undefined) return
  const created = mkdtempSync(join(tmpdir(), 'culvert-'))
  directory = created
  process.env['TMPDIR'] = created
  process.once('exit', removePrivateTemp)
}

/** For an end that nobody is told of. */
export function removePrivateTemp(): void {
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
}
