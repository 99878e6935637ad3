/** A whole endpoint for tests: official files in a private directory, the real supervisor, and a real lane thread. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Clock } from '../../src/clock.ts'
import { loadSettings } from '../../src/config/load.ts'
import type { LoadedSettings } from '../../src/config/load.ts'
import type { HostsSettings, VpnSettings } from '../../src/config/settings.ts'
import { Supervisor } from '../../src/control/supervisor.ts'
import { testCertificate } from './certificate.ts'

export const USER = { username: 'premium', password: 'p:w"x' }

export interface EndpointOptions {
  /** Default: any port on loopback. */
  readonly listen?: string
  /** Top-level keys, inserted before the generated `vpn.toml`. */
  readonly keys?: string
  /** Tables, appended to it. */
  readonly tables?: string
  readonly protocols?: readonly ('http1' | 'http2' | 'quic')[]
  /** `credentials.toml`; by default it contains {@link USER}. */
  readonly credentials?: string
  readonly rules?: string
  /** `hosts.toml`; it may use the paths `cert.pem` and `key.pem`. By default it has the main host vpn.endpoint. */
  readonly hosts?: string
  readonly logLevel?: string
  /** Default: 1. */
  readonly lanes?: number
  /** The module that a lane's thread runs. */
  readonly laneThread?: URL
  /** Whether loopback and private targets may be reached; tests have no others. Default: true. */
  readonly allowPrivate?: boolean
  /** The clock of the control thread. */
  readonly clock?: Clock
  /** Delays every start and reload between reading the files and doing anything with them. */
  readonly afterLoad?: (directory: string) => Promise<void>
  /** Hosts that the supervisor is given instead of those read: some that the files could not lead to. */
  readonly alterHosts?: (hosts: HostsSettings) => HostsSettings
}

export interface TestEndpoint extends AsyncDisposable {
  readonly port: number
  readonly directory: string
  readonly supervisor: Supervisor
  readonly files: { readonly vpn: string; readonly hosts: string }
  /** Parsed log lines so far. */
  readonly logs: Record<string, unknown>[]
  /** Waits until `holds` accepts the counters; rejects with the last ones after 10 s. */
  waitForStats(holds: (stats: Record<string, number>) => boolean): Promise<Record<string, number>>
  waitForLog(holds: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>
  /**
   * Waits until no connection, session, stream, flow or socket to a target is left; disposing the endpoint does it too.
   */
  waitUntilFree(patienceMs?: number): Promise<Record<string, number>>
}

/** A table for tests that open more connections than one address normally may. */
export const OPEN_EDGE = `[culvert.edge]
handshakes_per_address = 10000
handshakes_total = 10000
connections_per_address = 10000
connection_burst = 100000
connection_rate = 100000
`

const HELD = [
  'decoy_open_files',
  'gate_connections',
  'client_sessions{HTTP1}',
  'client_sessions{HTTP2}',
  'client_sessions{HTTP3}',
  'icmp_pending',
  'open_streams',
  'outbound_tcp_sockets',
  'outbound_udp_sockets',
]

const DEFAULT_HOSTS = `[[main_hosts]]
hostname = "vpn.endpoint"
cert_chain_path = "cert.pem"
private_key_path = "key.pem"
`
const DEFAULT_CREDENTIALS = `[[client]]
username = "premium"
password = 'p:w"x'
`
const POLL_MS = 20
const PATIENCE_MS = 10_000

/** Writes the official files for `options` and returns their paths. */
export async function writeEndpointFiles(
  directory: string,
  options: EndpointOptions = {},
  listen = options.listen ?? '127.0.0.1:0',
): Promise<{ vpn: string; hosts: string }> {
  const { protocols = ['http1', 'http2'], allowPrivate = true } = options
  const { cert, key } = testCertificate()
  const vpn = join(directory, 'vpn.toml')
  const hosts = join(directory, 'hosts.toml')
  const lines = [
    `listen_address = "${listen}"`,
    `allow_private_network_connections = ${allowPrivate}`,
    'credentials_file = "credentials.toml"',
    ...(options.rules === undefined ? [] : ['rules_file = "rules.toml"']),
    options.keys ?? '',
    ...protocols.map((protocol) => `[listen_protocols.${protocol}]`),
    options.tables ?? '',
  ]
  await Promise.all([
    writeFile(join(directory, 'cert.pem'), cert),
    writeFile(join(directory, 'key.pem'), key, { mode: 0o600 }),
    writeFile(vpn, lines.join('\n')),
    writeFile(hosts, options.hosts ?? DEFAULT_HOSTS),
    writeFile(join(directory, 'credentials.toml'), options.credentials ?? DEFAULT_CREDENTIALS, {
      mode: 0o600,
    }),
    options.rules === undefined ? undefined : writeFile(join(directory, 'rules.toml'), options.rules),
  ])
  return { vpn, hosts }
}

export async function startEndpoint(options: EndpointOptions = {}): Promise<TestEndpoint> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-test-'))
  const files = await writeEndpointFiles(directory, options)
  const logs: Record<string, unknown>[] = []
  const writeLog = (lines: string): void => {
    for (const line of lines.trimEnd().split('\n')) logs.push(JSON.parse(line) as Record<string, unknown>)
  }
  const logLevel = options.logLevel ?? 'info'
  const load = async (running?: VpnSettings): Promise<LoadedSettings> => {
    const settings = await loadSettings(files.vpn, files.hosts, running && { running })
    await options.afterLoad?.(directory)
    return { ...settings, hosts: options.alterHosts?.(settings.hosts) ?? settings.hosts }
  }
  const supervisor = new Supervisor({
    settings: await load(),
    load,
    lanes: options.lanes ?? 1,
    log: pino({ level: logLevel }, { write: writeLog }),
    logLevel,
    writeLog,
    ...(options.clock && { clock: options.clock }),
    ...(options.laneThread && { laneThread: options.laneThread }),
  })
  const { port } = await supervisor.start().catch(async (error: unknown) => {
    await supervisor.close({ graceMs: 0 })
    await rm(directory, { recursive: true })
    throw error
  })
  let ended = false
  const end = (): void => void (ended = true)
  supervisor.closed.then(end, end)
  const waitUntilFree = (patienceMs?: number): Promise<Record<string, number>> =>
    poll(
      () => supervisor.stats(),
      (stats) => HELD.every((name) => (stats[name] ?? 0) === 0),
      patienceMs,
    )
  return {
    port,
    directory,
    supervisor,
    files,
    logs,
    waitForStats: (holds) => poll(() => supervisor.stats(), holds),
    waitUntilFree,
    waitForLog: async (holds) => {
      const line = await poll(
        async () => logs.find(holds),
        (found) => found !== undefined,
      )
      return line ?? {}
    },
    [Symbol.asyncDispose]: async () => {
      try {
        // Closing would hide what its clients and targets have left behind.
        if (!ended) await waitUntilFree()
      } finally {
        await supervisor.close({ graceMs: 0 })
        await rm(directory, { recursive: true })
      }
    },
  }
}

async function poll<T>(
  read: () => Promise<T>,
  holds: (value: T) => boolean,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const value = await read()
    if (holds(value)) return value
    if (performance.now() > deadline) throw new Error(`never came true: ${JSON.stringify(value)}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
