/** Descriptors of this process for leak checks, selected by kind, because the test runner opens some of its own. */
import { readdirSync, readlinkSync } from 'node:fs'

/** How many descriptors are sockets (Linux). */
export function countSockets(): number {
  return readdirSync('/proc/self/fd').filter((fd) => linkOf(fd).startsWith('socket:')).length
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    // The descriptor that listed the directory is gone by now.
    return ''
  }
}
