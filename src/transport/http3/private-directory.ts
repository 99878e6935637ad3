/** Whether a directory keeps secrets from other users of the machine. */
import { statSync } from 'node:fs'

/** True when the directory is ours and nobody else may look into it. */
export function isPrivateDirectory(path: string): boolean {
  try {
    const { mode, uid } = statSync(path)
    return uid === process.getuid?.() && (mode & 0o077) === 0
  } catch {
    return false
  }
}
