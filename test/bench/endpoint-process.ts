/** An endpoint executable under measurement: its official files, its start, and what the kernel and V8 say of it. */
import { closeSync, openSync, rmSync } from 'node:fs'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { createSelfSignedCertificate } from '../../src/cli/try/certificate.ts'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { allocationRate } from './heap-log.ts'
import { modulePath } from './module-path.ts'
import { endProcess, hasEnded, spawnPinned, type Place } from './pinned-process.ts'
import { isListening, readCpuSeconds, readMemoryKib, readWrittenBytes } from './process-figures.ts'
import type { EndpointAccess } from './tunnel-client.ts'

const SERVER_NAME = 'vpn.endpoint'
const USERNAME = 'bench'
const PASSWORD = 'correct-horse-battery'
const START_LIMIT_MS = 20_000
const POLL_MS = 20
const HEAP_FILE = 'heap.log'
const LOG_TAIL_CHARS = 2000

export interface EndpointOptions {
  /** Words of a shell command to which `vpn.toml hosts.toml` are appended. */
  readonly command: string
  readonly quic: boolean
  readonly place: Place
  /** Where it listens. */
  readonly address: string
  /** Whether its threads report what they allocate (Node only). */
  readonly reportsHeap: boolean
  /** Directory for profiles of the processor (Node only). */
  readonly profileDirectory?: string | undefined
}

export class EndpointProcess implements AsyncDisposable {
  readonly access: EndpointAccess
  readonly #child: ChildProcess
  readonly #directory: string
  readonly #graceMs: number

  private constructor(child: ChildProcess, directory: string, access: EndpointAccess, graceMs: number) {
    this.#child = child
    this.#directory = directory
    this.access = access
    this.#graceMs = graceMs
    process.once('exit', this.#removeFiles)
  }

  readonly #removeFiles = (): void => rmSync(this.#directory, { recursive: true, force: true })

  /** Resolves when the endpoint listens. */
  static async start(options: EndpointOptions): Promise<EndpointProcess> {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-bench-'))
    const port = await findFreePort()
    await writeFiles(directory, options.address, port, options.quic)
    const log = openSync(join(directory, 'output.log'), 'w')
    const { address, profileDirectory } = options
    const child = spawnPinned(
      options.place,
      ['sh', '-c', `exec ${options.command} "$@"`, 'sh', 'vpn.toml', 'hosts.toml'],
      { cwd: directory, stdio: ['ignore', log, log], env: environment(options, directory) },
    )
    closeSync(log)
    const authorization = encodeBasicAuth(USERNAME, PASSWORD)
    const access = { address, port, serverName: SERVER_NAME, authorization }
    // A profile is written at an orderly end only.
    const endpoint = new EndpointProcess(child, directory, access, profileDirectory ? 10_000 : 500)
    try {
      await endpoint.#waitUntilReady()
    } catch (error) {
      await endpoint[Symbol.asyncDispose]()
      throw error
    }
    return endpoint
  }

  async #waitUntilReady(): Promise<void> {
    const deadline = performance.now() + START_LIMIT_MS
    while (!(await isListening(this.#pid, this.access.port))) {
      if (hasEnded(this.#child) || performance.now() > deadline) {
        const output = await readFile(join(this.#directory, 'output.log'), 'utf8')
        throw new Error(`the endpoint does not start: ${output.slice(-LOG_TAIL_CHARS).trim() || 'no output'}`)
      }
      await sleep(POLL_MS)
    }
  }

  get #pid(): number {
    return this.#child.pid ?? NaN
  }

  /** User and system time of all threads so far. */
  cpuSeconds(): Promise<number> {
    return readCpuSeconds(this.#pid)
  }

  rssKib(): Promise<number> {
    return readMemoryKib(this.#pid, 'VmRSS')
  }

  /** The largest resident set so far. */
  peakRssKib(): Promise<number> {
    return readMemoryKib(this.#pid, 'VmHWM')
  }

  /** Bytes sent over TCP by each thread, keyed by thread id. */
  writtenBytes(): Promise<ReadonlyMap<string, number>> {
    return readWrittenBytes(this.#pid)
  }

  /**
   * Bytes per second that its threads allocated on V8's heaps between two times in milliseconds since 1970. Rejects when
   * it has reported nothing.
   */
  async allocationRate(fromMs: number, toMs: number): Promise<number> {
    const log = await readFile(join(this.#directory, HEAP_FILE), 'utf8').catch(() => '')
    const rate = allocationRate(log, fromMs, toMs)
    if (Number.isNaN(rate)) throw new Error('it reports no allocations: is it a program for Node?')
    return rate
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endProcess(this.#child, this.#graceMs)
    process.off('exit', this.#removeFiles)
    this.#removeFiles()
  }
}

/** All of the load comes from one address and one user: limits that are right for them would stop it. */
const OWN_TABLES = `
[culvert]
shutdown_grace_secs = 0
[culvert.users]
max_tunnels = 1000000
[culvert.edge]
handshakes_per_address = 10000
handshakes_total = 10000
connections_per_address = 100000
connections_total = 100000
connection_burst = 10000000
connection_rate = 1000000
`

function environment(options: EndpointOptions, directory: string): NodeJS.ProcessEnv {
  const { profileDirectory, reportsHeap } = options
  const nodeOptions = [
    ...(profileDirectory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDirectory}`]),
    ...(reportsHeap ? [`--import=${pathToFileURL(modulePath('heap-report.mjs')).href}`] : []),
  ]
  if (nodeOptions.length === 0) return process.env
  return {
    ...process.env,
    NODE_OPTIONS: nodeOptions.join(' '),
    CULVERT_BENCH_HEAP_FILE: join(directory, HEAP_FILE),
  }
}

async function writeFiles(directory: string, address: string, port: number, quic: boolean): Promise<void> {
  const { certificate, privateKey } = createSelfSignedCertificate({ names: [SERVER_NAME], days: 2 })
  const protocols = ['http1', 'http2', ...(quic ? ['quic'] : [])]
  const files = {
    'vpn.toml': `listen_address = "${address}:${port}"
credentials_file = "credentials.toml"
allow_private_network_connections = true
${protocols.map((protocol) => `[listen_protocols.${protocol}]`).join('\n')}
[forward_protocol.direct]
${OWN_TABLES}`,
    'hosts.toml': `[[main_hosts]]
hostname = "${SERVER_NAME}"
cert_chain_path = "cert.pem"
private_key_path = "key.pem"
`,
    'credentials.toml': `[[client]]\nusername = "${USERNAME}"\npassword = "${PASSWORD}"\n`,
    'cert.pem': certificate,
    'key.pem': privateKey,
  }
  await Promise.all(
    Object.entries(files).map(([name, text]) => writeFile(join(directory, name), text, { mode: 0o600 })),
  )
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
