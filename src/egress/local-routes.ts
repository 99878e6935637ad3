/**
 * The addresses that Linux takes for its own, from the texts in `/proc/net`. They are more than those of the interfaces
 * that `os.networkInterfaces()` lists: an interface without a carrier keeps its addresses, and a route of type `local`
 * makes a whole range the machine's own.
 */
import { closeSync, openSync, readSync } from 'node:fs'

/**
 * What is read of one file. A machine with more routes than fit (about 10,000) is a router; then the file counts as
 * missing, since it is read again and again on the thread that serves clients.
 */
const MAX_BYTES = 1_048_576
const PIECE_BYTES = 65_536
/** `RTF_LOCAL` and `RTF_ANYCAST` of `linux/ipv6_route.h`. */
const LOCAL_FLAGS = 0x8010_0000
/**
 * The IPv6 file does not say which table a route is from. A shorter local route is one that a transparent proxy put in
 * a table for marked packets (`local default dev lo table 100`): nobody owns that many addresses.
 */
const MIN_IPV6_BITS = 16
const ABSENT: ReadonlySet<string | undefined> = new Set(['ENOENT', 'EACCES', 'EPERM'])

/** Addresses and ranges, as text. Throws when the system refuses for a moment, as without descriptors. */
export function readLocalRoutes(): string[] {
  return [
    ...parseFibTrie(readWhole('/proc/net/fib_trie')),
    ...parseInterfaceAddresses6(readWhole('/proc/net/if_inet6')),
    ...parseRoutes6(readWhole('/proc/net/ipv6_route')),
  ]
}

/**
 * `/proc/net/fib_trie` (net/ipv4/fib_trie.c, fib_trie_seq_show): one trie for each table, a leaf per address, below it
 * a line `/bits scope TYPE` per route. Only the table `Local` counts.
 */
export function parseFibTrie(text: string): string[] {
  const found: string[] = []
  let inLocal = false
  let leaf = ''
  for (const line of text.split('\n')) {
    if (line !== '' && !line.startsWith(' ')) {
      inLocal = line === 'Local:'
      continue
    }
    if (!inLocal) continue
    const words = line.trim().split(' ')
    if (words[0] === '|--') leaf = words[1] ?? ''
    else if (words[2] === 'LOCAL') found.push(leaf + (words[0] ?? ''))
  }
  return found
}

/** `/proc/net/if_inet6`: 32 hexadecimal digits first in each line. */
export function parseInterfaceAddresses6(text: string): string[] {
  return linesOf(text).map(([address = '']) => colons(address))
}

/** `/proc/net/ipv6_route`: destination, its bits in hexadecimal, source and its bits, next hop, four numbers, device. */
export function parseRoutes6(text: string): string[] {
  return linesOf(text).flatMap(([address = '', bitsText = '', , , , , , , flags = '']) => {
    const bits = Number.parseInt(bitsText, 16)
    const local = (Number.parseInt(flags, 16) & LOCAL_FLAGS) !== 0
    return local && bits >= MIN_IPV6_BITS ? [`${colons(address)}/${bits}`] : []
  })
}

function linesOf(text: string): string[][] {
  const lines = text.split('\n').map((line) => line.trim().split(/ +/))
  return lines.filter(([first]) => first?.length === 32)
}

function colons(digits: string): string {
  return digits.replace(/.{4}(?!$)/g, '$&:')
}

/** Empty when there is no such file (another system, IPv6 switched off) or when it is too long. */
function readWhole(path: string): string {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    if (ABSENT.has((error as NodeJS.ErrnoException).code)) return ''
    throw error
  }
  try {
    const pieces: Buffer[] = []
    for (let total = 0; total <= MAX_BYTES;) {
      const piece = Buffer.allocUnsafe(PIECE_BYTES)
      const length = readSync(fd, piece)
      if (length === 0) return Buffer.concat(pieces).toString('latin1')
      pieces.push(piece.subarray(0, length))
      total += length
    }
    return ''
  } finally {
    closeSync(fd)
  }
}
