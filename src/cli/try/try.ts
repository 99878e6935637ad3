/**
 * `culvert try`: the endpoint without any preparation. It runs on loopback only, with a certificate and a user made on
 * the first start and a small page to fetch through it, so that it can be tried without a network.
 */
import { createServer } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createClientConfig, encodeClientLink } from '../export/client-config.ts'
import { loadSettings } from '../../config/load.ts'
import type { Settings } from '../../config/settings.ts'
import { Supervisor } from '../../control/supervisor.ts'
import type { TryCommand } from '../arguments.ts'
import { LogOutput } from '../log/output.ts'
import { runUntilSignal, warnAll } from '../serve.ts'
import type { ExitCode, Terminal } from '../terminal.ts'
import { prepareTryFiles, tryDirectory, USUAL_PORT, writeCurlConfig, type TryFiles } from './files.ts'

const LOOPBACK = '127.0.0.1'
const PAGE = 'It works: this page came through culvert.\n'

export async function runTry(command: TryCommand, terminal: Terminal): Promise<ExitCode> {
  const page = await servePage()
  const output = new LogOutput({
    level: command.level,
    format: 'pretty',
    file: undefined,
    terminal: process.stdout.isTTY,
  })
  try {
    const pagePort = portOf(page)
    const free = await isFree(USUAL_PORT)
    if (!free) terminal.out(`Port ${USUAL_PORT} is in use by another program: taking another one.\n`)
    const files = prepareTryFiles(tryDirectory(process.env), {
      listen: `${LOOPBACK}:${free ? USUAL_PORT : 0}`,
      allow: `${LOOPBACK}:${pagePort}`,
    })
    const settings = await loadSettings(files.vpn, files.hosts)
    warnAll(output.log, settings)
    const supervisor = new Supervisor({
      settings,
      lanes: 1,
      load: (running) => loadSettings(files.vpn, files.hosts, { running }),
      log: output.log,
      logLevel: output.level,
      writeLog: (lines) => output.write(lines),
    })
    const graceMs = settings.vpn.culvert.shutdown_grace_secs * 1000
    return await runUntilSignal(supervisor, output, graceMs, ({ port }) =>
      terminal.out(introduce(settings, files, port, pagePort)),
    )
  } finally {
    page.closeAllConnections()
    page.close()
    await output.close()
  }
}

async function servePage() {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/plain; charset=utf-8')
    response.end(PAGE)
  })
  server.listen(0, LOOPBACK)
  await once(server, 'listening')
  return server
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

/** Over TCP and UDP. The lanes share their port (SO_REUSEPORT), so they would not notice another culvert on it. */
async function isFree(port: number): Promise<boolean> {
  const tcp = createTcpServer().listen(port, LOOPBACK)
  const udp = createSocket('udp4').bind(port, LOOPBACK)
  try {
    return (await Promise.all([settles(once(tcp, 'listening')), settles(once(udp, 'listening'))])).every(
      Boolean,
    )
  } finally {
    await Promise.all([closed(tcp), closed(udp)])
  }
}

function settles(event: Promise<unknown>): Promise<boolean> {
  return event.then(
    () => true,
    () => false,
  )
}

function closed(handle: { close(done: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => {
    try {
      handle.close(() => resolve())
    } catch {
      // It never got as far as being open.
      resolve()
    }
  })
}

function introduce(settings: Settings, files: TryFiles, port: number, pagePort: number): string {
  const [client] = settings.clients
  if (client === undefined) throw new Error(`${files.credentials} has no user`)
  const { config } = createClientConfig(settings, {
    username: client.username,
    addresses: [`${LOOPBACK}:${port}`],
    name: 'culvert try',
  })
  const curl = writeCurlConfig(files, { port, username: client.username, password: client.password })
  return `
culvert listens on ${LOOPBACK}:${port}, for this machine only. Ctrl-C ends it.

From another terminal, fetch a page through it:

  curl -K ${quoteForShell(curl)} http://${LOOPBACK}:${pagePort}/

The deep link for a client on this machine:

  ${encodeClientLink(config)}

User, certificate and configuration are in ${files.directory}
`
}

function quoteForShell(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`
}
