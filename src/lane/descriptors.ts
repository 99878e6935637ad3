/**
 * Who may have the last descriptors of the process, which all lanes share. Tunnels could take them all: then nobody could connect any more,
 * the site could not open its files, and a reload could not read its own. So targets are no longer dialled well before
 * the descriptors run out, and no client is accepted any more when only those are left that the endpoint itself needs.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { Clock, Timer } from '../clock.ts'
import type { Counters } from '../counters.ts'

/** Share of the limit that is kept for clients to connect and for the site's files. */
const SHARE_FOR_CLIENTS = 1 / 8
/** One user's largest share of the descriptors for targets, however high that user's own limits are. */
export const SHARE_OF_A_USER = { tunnels: 1 / 2, flows: 1 / 4 } as const
/** Kept for the files that a reload reads, the log, and queries to name servers. */
const FOR_CONTROL = 24
/** How often to count what no counter covers: files, sockets to name servers. */
const COUNT_PERIOD_MS = 5000
/** Gauges of which each unit is one descriptor. */
const COUNTED = [
  'gate_tcp_connections',
  'outbound_tcp_sockets',
  'outbound_udp_sockets',
  'origin_sockets',
  'decoy_open_files',
] as const

/** What the lanes of the process have counted (`users/ledger.ts`). */
interface CountedDescriptors {
  /** Says how many this lane has. */
  set(what: 'descriptors', held: number): void
  /** Of all lanes. */
  total(what: 'descriptors'): number
}

interface DescriptorDependencies {
  readonly clock: Clock
  readonly counters: Counters
  readonly counted: CountedDescriptors
  /** RLIMIT_NOFILE; undefined where it cannot be found out, and then nothing is held back. */
  readonly limit: number | undefined
  /** {@link countDescriptors} */
  readonly count: () => number
}

export class DescriptorReserve {
  readonly #deps: DescriptorDependencies
  /** How many may be open when a target is dialled, and when a client is accepted. */
  readonly #dialBelow: number
  readonly #acceptUpTo: number
  readonly #tick: Timer | undefined
  /** Open descriptors of the process that {@link COUNTED} does not include. */
  #others: number

  constructor(deps: DescriptorDependencies) {
    this.#deps = deps
    const { limit = Infinity } = deps
    this.#acceptUpTo = limit - FOR_CONTROL
    this.#dialBelow = this.#acceptUpTo - Math.ceil((deps.limit ?? 0) * SHARE_FOR_CLIENTS)
    this.#others = deps.limit === undefined ? 0 : deps.count()
    if (deps.limit !== undefined) this.#tick = deps.clock.every(COUNT_PERIOD_MS, () => this.#recount())
  }

  /** Whether one more descriptor may go to a target. */
  readonly mayDial = (): boolean => this.#used() < this.#dialBelow

  /** Whether a client that was just accepted, and has its descriptor, may keep it. */
  readonly mayAccept = (): boolean => this.#used() <= this.#acceptUpTo

  /** A limit of one user, lowered where it would exceed `share` of the descriptors for targets. */
  lower(limit: number, share: number): number {
    return Math.max(1, Math.min(limit, Math.floor((this.#dialBelow - this.#others) * share)))
  }

  close(): void {
    this.#tick?.cancel()
  }

  #used(): number {
    return this.#others + this.#counted()
  }

  /** In all lanes. */
  #counted(): number {
    const { counters, counted } = this.#deps
    let own = 0
    for (const name of COUNTED) own += counters.read(name)
    counted.set('descriptors', own)
    return counted.total('descriptors')
  }

  #recount(): void {
    this.#others = Math.max(0, this.#deps.count() - this.#counted())
  }
}

/** The limit of this process (proc(5)); Node has raised the soft limit to the hard one. */
export function readDescriptorLimit(): number | undefined {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return limit === undefined ? undefined : Number(limit)
  } catch {
    return undefined
  }
}

/**
 * Infinity when they are all in use: listing them takes one itself. 0 when the system does not let us look, as it does
 * where the program file has capabilities: then only what has a gauge counts.
 */
export function countDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EMFILE' || code === 'ENFILE' ? Infinity : 0
  }
}
