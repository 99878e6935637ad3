/** What is measured: one row per kind of work. */
import type { Job } from './load-job.ts'
import type { Protocol } from './tunnel-client.ts'

/** A measured value: how it is printed, and which way is good. */
export interface Figure {
  readonly label: string
  readonly unit: string
  readonly better: 'higher' | 'lower'
  readonly digits: number
}

/** Work that a running endpoint does. */
export type EndpointWork =
  | Omit<Extract<Job, { kind: 'transfer' }>, 'targets'>
  | Omit<Extract<Job, { kind: 'connect' }>, 'targets'>
  | Omit<Extract<Job, { kind: 'idle' }>, 'targets'>
  | Omit<Extract<Job, { kind: 'udp' }>, 'target'>
  | (Omit<Extract<Job, { kind: 'ping' }>, 'targets'> & { readonly underLoad: boolean })

/** `gate` compares two servers of its own instead. */
export type Work = EndpointWork | { readonly kind: 'gate' }

export interface Row {
  readonly name: string
  readonly title: string
  readonly work: Work
  /** In the order in which `measure` gives the values. */
  readonly figures: readonly [Figure, ...Figure[]]
}

const THROUGHPUT: Figure = { label: 'throughput', unit: 'MB/s', better: 'higher', digits: 0 }
const CPU_PER_GIB: Figure = { label: 'CPU', unit: 'CPU-s/GiB', better: 'lower', digits: 2 }
const RATE: Figure = { label: 'rate', unit: '/s', better: 'higher', digits: 0 }
const CPU_EACH: Figure = { label: 'CPU each', unit: 'µs CPU', better: 'lower', digits: 1 }
const MEMORY: Figure = { label: 'memory', unit: 'KiB RSS', better: 'lower', digits: 1 }
const RTT_P50: Figure = { label: 'p50', unit: 'µs p50', better: 'lower', digits: 0 }
const RTT_P99: Figure = { label: 'p99', unit: 'µs p99', better: 'lower', digits: 0 }

const SHARE: Figure = { label: 'share', unit: '%', better: 'lower', digits: 1 }

const VERSIONS: Record<Protocol, string> = { h1: 'HTTP/1.1', h2: 'HTTP/2', h3: 'HTTP/3' }
const IDLE_TUNNELS = 5000
const IDLE_SESSIONS = 10
const CONNECTS_AT_ONCE = 32
const DATAGRAMS_IN_FLIGHT = 64

function transfer(protocol: Protocol, direction: 'down' | 'up', streams: number): Row {
  const verb = direction === 'down' ? 'download' : 'upload'
  return {
    name: `${protocol}-${direction}-${streams}`,
    title: `${VERSIONS[protocol]} ${verb}, ${streams} ${streams === 1 ? 'stream' : 'streams'}`,
    work: { kind: 'transfer', direction, protocol, streams },
    figures: [THROUGHPUT, CPU_PER_GIB],
  }
}

function connects(protocol: Protocol): Row {
  const note = protocol === 'h1' ? ' (with TCP connection and full TLS handshake)' : ''
  return {
    name: `${protocol}-connect`,
    title: `${VERSIONS[protocol]} CONNECT, ping, close${note}`,
    work: { kind: 'connect', protocol, concurrency: CONNECTS_AT_ONCE },
    figures: [RATE, CPU_EACH],
  }
}

function datagrams(payloadBytes: number): Row {
  return {
    name: `udp-${payloadBytes}`,
    title: `UDP echo, ${payloadBytes} bytes`,
    work: { kind: 'udp', payloadBytes, inFlight: DATAGRAMS_IN_FLIGHT },
    figures: [RATE, CPU_EACH],
  }
}

function roundTrips(underLoad: boolean): Row {
  return {
    name: underLoad ? 'rtt-load' : 'rtt-rest',
    title: `Added round trip, ${underLoad ? 'during a download with 8 streams' : 'at rest'}`,
    work: { kind: 'ping', protocol: 'h2', underLoad },
    figures: [RTT_P50, RTT_P99],
  }
}

export const ROWS: readonly Row[] = [
  ...[1, 8, 64].map((streams) => transfer('h2', 'down', streams)),
  ...[1, 8, 64].map((streams) => transfer('h2', 'up', streams)),
  ...(['h1', 'h3'] as const).flatMap((protocol) =>
    (['down', 'up'] as const).flatMap((direction) => [1, 8].map((n) => transfer(protocol, direction, n))),
  ),
  connects('h2'),
  connects('h1'),
  {
    name: 'gate',
    title: 'What the gate adds to an HTTP/1.1 CONNECT, ping, close',
    work: { kind: 'gate' },
    figures: [CPU_EACH, SHARE],
  },
  {
    name: 'h2-idle',
    title: `Idle tunnel (of ${IDLE_TUNNELS} in ${IDLE_SESSIONS} sessions)`,
    work: { kind: 'idle', protocol: 'h2', sessions: IDLE_SESSIONS, tunnels: IDLE_TUNNELS },
    figures: [MEMORY],
  },
  datagrams(64),
  datagrams(1200),
  roundTrips(false),
  roundTrips(true),
]

/** Rows by name or by the beginning of it up to a hyphen (`h2`, `h2-down`). @throws Error for a name without rows. */
export function pickRows(names: readonly string[]): readonly Row[] {
  if (names.length === 0) return ROWS
  const isOf = (row: Row, name: string): boolean => row.name === name || row.name.startsWith(`${name}-`)
  for (const name of names) {
    if (ROWS.some((row) => isOf(row, name))) continue
    throw new Error(`no row ${name}; there are: ${ROWS.map((row) => row.name).join(', ')}`)
  }
  return ROWS.filter((row) => names.some((name) => isOf(row, name)))
}
