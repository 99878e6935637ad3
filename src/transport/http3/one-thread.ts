/**
 * Makes the HTTP/3 addon start a single native thread. By default it starts one for each processor, each with a socket
 * of its own on the port, and the kernel spreads datagrams over them by addresses and ports. When a client's port
 * changes in mid-session (its NAT has forgotten it, RFC 9000 section 9.3.3), its datagrams reach a thread that does not
 * know the session and stays silent. The addon has no option for this, but asks the system how many processors the
 * calling thread may use: one, for the moment of the call. Linux only; elsewhere nothing is changed.
 */
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import type koffi from 'koffi'

/** Room for 8192 processors. */
const MASK_BYTES = 1024

interface Affinity {
  get(thread: number, bytes: number, mask: Buffer): number
  set(thread: number, bytes: number, mask: Buffer): number
}

let loaded: Affinity | undefined

function affinity(): Affinity {
  if (loaded !== undefined) return loaded
  // Not with the modules of every lane: a thread that is ended while koffi loads takes the process along.
  const { load } = createRequire(import.meta.url)('koffi') as typeof koffi
  const library = load(null)
  loaded = {
    get: library.func('int sched_getaffinity(int, size_t, _Out_ void *)'),
    set: library.func('int sched_setaffinity(int, size_t, const void *)'),
  }
  return loaded
}

/** Runs `start`; threads that it starts may use all processors that this one may. */
export function startOneThread(start: () => void): void {
  const all = Buffer.alloc(MASK_BYTES)
  if (process.platform !== 'linux' || affinity().get(0, MASK_BYTES, all) !== 0) return start()
  const before = new Set(readdirSync('/proc/self/task'))
  affinity().set(0, MASK_BYTES, firstOf(all))
  try {
    start()
  } finally {
    affinity().set(0, MASK_BYTES, all)
    for (const thread of readdirSync('/proc/self/task')) {
      if (!before.has(thread)) affinity().set(Number(thread), MASK_BYTES, all)
    }
  }
}

/** Only the lowest bit set. */
function firstOf(mask: Buffer): Buffer {
  const first = Buffer.alloc(mask.length)
  const at = mask.findIndex((byte) => byte !== 0)
  const byte = mask[at] ?? 0
  first[at] = byte & -byte
  return first
}
