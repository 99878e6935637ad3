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

type TransferWork = Omit<Extract<Job, { kind: 'transfer' }>, 'targets'> & {
  /** Other sessions of the same protocol, with an idle tunnel each. */
  readonly idleSessions?: number
  /** The way to the endpoint takes so long, there and back. */
  readonly roundTripMs?: number
  /** A figure more: the share of the least busy of so many lanes. */
  readonly sharedByLanes?: number
}

/** Work that a running endpoint does. */
export type EndpointWork =
  | TransferWork
  | (Omit<Extract<Job, { kind: 'connect' }>, 'targets'> & {
      /** Whether what is allocated on V8's heap is measured instead of processor time. */
      readonly garbage?: boolean
    })
  | Omit<Extract<Job, { kind: 'idle' }>, 'targets'>
  | Omit<Extract<Job, { kind: 'udp' }>, 'target'>
  | (Omit<Extract<Job, { kind: 'ping' }>, 'targets'> & { readonly underLoad: boolean })
  /** None: how much memory it takes to stand there. */
  | { readonly kind: 'rest' }

/** `gate` compares two servers of its own instead. */
export type Work = EndpointWork | { readonly kind: 'gate' }

export interface Row {
  readonly name: string
  readonly title: string
  readonly work: Work
  /** In the order in which `measure` gives the values. */
  readonly figures: readonly [Figure, ...Figure[]]
  /** Which figure endpoints are compared by. */
  readonly compared: number
  /** Between clients and endpoint is a cable with the MTU of Ethernet instead of the loopback interface. */
  readonly cable?: boolean
  /** Threads for the data, on as many cores, asked for with `--jobs`; otherwise one, on one core. */
  readonly lanes?: number
}

const THROUGHPUT: Figure = { label: 'throughput', unit: 'MB/s', better: 'higher', digits: 0 }
const CPU_PER_GIB: Figure = { label: 'CPU', unit: 'CPU-s/GiB', better: 'lower', digits: 2 }
const RATE: Figure = { label: 'rate', unit: '/s', better: 'higher', digits: 0 }
const CPU_EACH: Figure = { label: 'CPU each', unit: 'µs CPU', better: 'lower', digits: 1 }
const MEMORY: Figure = { label: 'memory', unit: 'KiB RSS', better: 'lower', digits: 1 }
const MEMORY_AT_REST: Figure = { label: 'memory', unit: 'MiB RSS', better: 'lower', digits: 1 }
const GARBAGE: Figure = { label: 'garbage each', unit: 'KiB', better: 'lower', digits: 1 }
const RTT_P50: Figure = { label: 'p50', unit: 'µs p50', better: 'lower', digits: 0 }
const RTT_P99: Figure = { label: 'p99', unit: 'µs p99', better: 'lower', digits: 0 }
const ADDED_SHARE: Figure = { label: 'share', unit: '%', better: 'lower', digits: 1 }
const LEAST_SHARE: Figure = { label: 'least share', unit: '%', better: 'higher', digits: 1 }

const VERSIONS: Record<Protocol, string> = { h1: 'HTTP/1.1', h2: 'HTTP/2', h3: 'HTTP/3' }
const IDLE_TUNNELS = 5000
const IDLE_SESSIONS = 10
const IDLE_HTTP3_SESSIONS = 300
const CONNECTS_AT_ONCE = 32
const DATAGRAMS_IN_FLIGHT = 64
const LANE_SESSIONS = 64
const LONG_ROUND_TRIP_MS = 100

function transfer(protocol: Protocol, direction: 'down' | 'up', streams: number): Row {
  const verb = direction === 'down' ? 'download' : 'upload'
  return {
    name: `${protocol}-${direction}-${streams}`,
    title: `${VERSIONS[protocol]} ${verb}, ${streams} ${streams === 1 ? 'stream' : 'streams'}`,
    work: { kind: 'transfer', direction, protocol, sessions: 1, streams },
    figures: [THROUGHPUT, CPU_PER_GIB],
    compared: 1,
  }
}

function transferOverCable(direction: 'down' | 'up', streams: number): Row {
  const row = transfer('h3', direction, streams)
  return { ...row, name: `mtu1500-${row.name}`, title: `${row.title}, MTU 1500`, cable: true }
}

const BESIDE_IDLE_SESSIONS: Row = {
  name: `h3-down-1-idle${IDLE_HTTP3_SESSIONS}`,
  title: `HTTP/3 download, 1 stream, beside ${IDLE_HTTP3_SESSIONS} idle sessions`,
  work: {
    kind: 'transfer',
    direction: 'down',
    protocol: 'h3',
    sessions: 1,
    streams: 1,
    idleSessions: IDLE_HTTP3_SESSIONS,
  },
  figures: [THROUGHPUT, CPU_PER_GIB],
  compared: 1,
}

const FAR_UPLOAD: Row = {
  name: `h2-up-1-${LONG_ROUND_TRIP_MS}ms`,
  title: `HTTP/2 upload, 1 stream, round trip of ${LONG_ROUND_TRIP_MS} ms`,
  work: {
    kind: 'transfer',
    direction: 'up',
    protocol: 'h2',
    sessions: 1,
    streams: 1,
    roundTripMs: LONG_ROUND_TRIP_MS,
  },
  figures: [THROUGHPUT, CPU_PER_GIB],
  compared: 0,
}

function overLanes(lanes: number): Row {
  const isShared = lanes > 1
  return {
    name: `lanes-${lanes}`,
    title: `HTTP/2 download, ${LANE_SESSIONS} sessions, ${isShared ? `${lanes} lanes` : '1 lane'}`,
    work: {
      kind: 'transfer',
      direction: 'down',
      protocol: 'h2',
      sessions: LANE_SESSIONS,
      streams: 1,
      ...(isShared ? { sharedByLanes: lanes } : {}),
    },
    figures: [THROUGHPUT, CPU_PER_GIB, ...(isShared ? [LEAST_SHARE] : [])],
    compared: 1,
    lanes,
  }
}

function connects(protocol: Protocol): Row {
  const note = protocol === 'h1' ? ' (with TCP connection and full TLS handshake)' : ''
  return {
    name: `${protocol}-connect`,
    title: `${VERSIONS[protocol]} CONNECT, ping, close${note}`,
    work: { kind: 'connect', protocol, concurrency: CONNECTS_AT_ONCE },
    figures: [RATE, CPU_EACH],
    compared: 1,
  }
}

function garbage(protocol: Protocol): Row {
  return {
    name: `${protocol}-garbage`,
    title: `Garbage of a CONNECT, ping, close over ${VERSIONS[protocol]}`,
    work: { kind: 'connect', protocol, concurrency: CONNECTS_AT_ONCE, garbage: true },
    figures: [GARBAGE],
    compared: 0,
  }
}

function datagrams(payloadBytes: number): Row {
  return {
    name: `udp-${payloadBytes}`,
    title: `UDP echo, ${payloadBytes} bytes`,
    work: { kind: 'udp', payloadBytes, inFlight: DATAGRAMS_IN_FLIGHT },
    figures: [RATE, CPU_EACH],
    compared: 1,
  }
}

function roundTrips(underLoad: boolean): Row {
  return {
    name: underLoad ? 'rtt-load' : 'rtt-rest',
    title: `Added round trip, ${underLoad ? 'during a download with 8 streams' : 'at rest'}`,
    work: { kind: 'ping', protocol: 'h2', underLoad },
    figures: [RTT_P50, RTT_P99],
    compared: 0,
  }
}

const GATE: Row = {
  name: 'gate',
  title: 'What the gate adds to an HTTP/1.1 CONNECT, ping, close',
  work: { kind: 'gate' },
  figures: [CPU_EACH, ADDED_SHARE],
  compared: 0,
}

const IDLE: Row = {
  name: 'h2-idle',
  title: `Idle tunnel (of ${IDLE_TUNNELS} in ${IDLE_SESSIONS} sessions)`,
  work: { kind: 'idle', protocol: 'h2', sessions: IDLE_SESSIONS, tunnels: IDLE_TUNNELS },
  figures: [MEMORY],
  compared: 0,
}

const REST: Row = {
  name: 'rest',
  title: 'Memory at rest, 1 lane',
  work: { kind: 'rest' },
  figures: [MEMORY_AT_REST],
  compared: 0,
}

const DIRECTIONS = ['down', 'up'] as const

export const ROWS: readonly Row[] = [
  ...DIRECTIONS.flatMap((direction) => [1, 8, 64].map((streams) => transfer('h2', direction, streams))),
  FAR_UPLOAD,
  ...DIRECTIONS.flatMap((direction) => [1, 8].map((streams) => transfer('h1', direction, streams))),
  ...[1, 8, 64].map((streams) => transfer('h3', 'down', streams)),
  BESIDE_IDLE_SESSIONS,
  ...[1, 8].map((streams) => transfer('h3', 'up', streams)),
  ...DIRECTIONS.flatMap((direction) => [1, 8].map((streams) => transferOverCable(direction, streams))),
  overLanes(1),
  overLanes(2),
  connects('h2'),
  connects('h1'),
  garbage('h2'),
  garbage('h1'),
  GATE,
  IDLE,
  REST,
  datagrams(64),
  datagrams(1200),
  roundTrips(false),
  roundTrips(true),
]

/**
 * Rows by name, or by the beginning of it up to a hyphen (`h2`, `h2-down`) where no row has the name itself. @throws
 * Error for a name without rows.
 */
export function pickRows(names: readonly string[]): readonly Row[] {
  if (names.length === 0) return ROWS
  const picked = new Set(names.flatMap((name) => rowsOf(name)))
  return ROWS.filter((row) => picked.has(row))
}

function rowsOf(name: string): readonly Row[] {
  const exact = ROWS.filter((row) => row.name === name)
  const rows = exact.length > 0 ? exact : ROWS.filter((row) => row.name.startsWith(`${name}-`))
  if (rows.length > 0) return rows
  throw new Error(`no row ${name}; there are: ${ROWS.map((row) => row.name).join(', ')}`)
}
