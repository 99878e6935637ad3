/**
 * An endpoint executable under measurement: its official files, its start, and its processor time and memory from /proc
 * (proc(5)).
 */
import { closeSync, openSync, rmSync } from 'node:fs'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSelfSignedCertificate } from '../../src/cli/try/certificate.ts'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { endProcess, hasEnded, spawnPinned } from './pinned-process.ts'
import type { EndpointAccess } from './tunnel-client.ts'

const SERVER_NAME = 'vpn.endpoint'
const USERNAME = 'bench'
const PASSWORD = 'correct-horse-battery'
const START_LIMIT_MS = 20_000
const POLL_MS = 20
/** USER_HZ: the unit of times in /proc, 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100
const LOG_TAIL_CHARS = 2000

export interface EndpointOptions {
  /** Words of a shell command to which `vpn.toml hosts.toml` are appended. */
  readonly command: string
  readonly quic: boolean
  readonly cores: string | undefined
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

  /** Resolves when the port accepts connections. */
  static async start(options: EndpointOptions): Promise<EndpointProcess> {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-bench-'))
    const port = await findFreePort()
    await writeFiles(directory, port, options.quic)
    const log = openSync(join(directory, 'output.log'), 'w')
    const { profileDirectory } = options
    const profiling =
      profileDirectory === undefined ? {} : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profileDirectory}` }
    const child = spawnPinned(
      options.cores,
      ['sh', '-c', `exec ${options.command} "$@"`, 'sh', 'vpn.toml', 'hosts.toml'],
      { cwd: directory, stdio: ['ignore', log, log], env: { ...process.env, ...profiling } },
    )
    closeSync(log)
    const access = { port, serverName: SERVER_NAME, authorization: encodeBasicAuth(USERNAME, PASSWORD) }
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
    while (!(await accepts(this.access.port))) {
      if (hasEnded(this.#child) || performance.now() > deadline) {
        const output = await readFile(join(this.#directory, 'output.log'), 'utf8')
        throw new Error(`the endpoint does not start: ${output.slice(-LOG_TAIL_CHARS).trim()}`)
      }
      await sleep(POLL_MS)
    }
  }

  /** User and system time of all threads so far, those that have ended included. */
  async cpuSeconds(): Promise<number> {
    const stat = await readFile(`/proc/${this.#child.pid}/stat`, 'utf8')
    // The name of the program, in parentheses, may hold anything. utime and stime are fields 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  }

  rssKib(): Promise<number> {
    return this.#readStatus('VmRSS')
  }

  /** The largest resident set so far. */
  peakRssKib(): Promise<number> {
    return this.#readStatus('VmHWM')
  }

  async #readStatus(field: 'VmRSS' | 'VmHWM'): Promise<number> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, 'utf8')
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? NaN)
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

async function writeFiles(directory: string, port: number, quic: boolean): Promise<void> {
  const { certificate, privateKey } = createSelfSignedCertificate({ names: [SERVER_NAME], days: 2 })
  const protocols = ['http1', 'http2', ...(quic ? ['quic'] : [])]
  const files = {
    'vpn.toml': `listen_address = "127.0.0.1:${port}"
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

function accepts(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect({ host: '127.0.0.1', port })
  socket.once('connect', () => resolve(true))
  socket.once('error', () => resolve(false))
  return promise.finally(() => socket.destroy())
}
