import { fileURLToPath } from 'node:url'

/** Path of a file of this directory, to be run as a process of its own. */
export function modulePath(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}
