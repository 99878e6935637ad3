/** A gate on a loopback port with the real TLS behind it, and a server that says whom it serves and then echoes. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { pino } from 'pino'
import { systemClock } from '../../src/clock.ts'
import type { Clock } from '../../src/clock.ts'
import { createSelfSignedCertificate } from '../../src/cli/try/certificate.ts'
import { Counters } from '../../src/counters.ts'
import { Gate } from '../../src/gate/gate.ts'
import type { GateOptions, PlainConnection } from '../../src/gate/gate.ts'
import type { GatedConnection } from '../../src/contract/gated-connection.ts'
import { HostMap } from '../../src/gate/host-map.ts'
import type { HostMapOptions } from '../../src/gate/host-map.ts'
import { InboundRules } from '../../src/gate/inbound-rules.ts'
import type { InboundRule } from '../../src/gate/inbound-rules.ts'
import { IdleMonitor } from '../../src/relay/idle-monitor.ts'
import { relayStreams } from '../../src/relay/stream-relay.ts'
import type { StreamEnd } from '../../src/contract/stream-end.ts'
import { TlsTerminator } from '../../src/transport/tls.ts'
import { openAddresses, OpenLedger } from './lane-share.ts'

export const HELLO_TIMEOUT_MS = 10_000

const LIMITS: GateOptions['limits'] = {
  handshakesPerAddress: 128,
  handshakesTotal: 1024,
  connectionsPerAddress: 512,
  connectionsTotal: 16_384,
  connectionBurst: 100,
  connectionRate: 20,
}
const HOSTS = [
  { channel: 'ping', hostname: 'ping.example.com', allowedSni: [] },
  { channel: 'main', hostname: 'vpn.example.com', allowedSni: ['*.alias.example'] },
] as const

export interface GateHarnessOptions {
  readonly gate?: Partial<Omit<GateOptions, 'limits'>>
  readonly limits?: Partial<GateOptions['limits']>
  readonly rules?: readonly InboundRule[]
  readonly pass?: HostMapOptions['pass']
  readonly clock?: Clock
  readonly onNotTls?: (connection: PlainConnection) => void
}

type LogLine = Readonly<Record<string, unknown>>

export interface GateHarness extends AsyncDisposable {
  readonly port: number
  readonly gate: Gate
  readonly counters: Counters
  /** Parsed log lines so far. */
  readonly logs: readonly LogLine[]
  /** Replaces rules or hosts, or both. */
  update(change: { rules?: InboundRules; hosts?: HostMap }): void
  /** Everything that got through, in order. */
  readonly accepted: GatedConnection[]
  /** Waits until a counter or gauge has this value. */
  waitFor(name: string, value: number): Promise<void>
}

/** The first thing the server sends on a connection, as one line of JSON. */
export interface Greeting {
  readonly channel: string
  readonly serverName?: string
  readonly remoteAddress: string
  readonly remotePort: number
}

const hosts = HOSTS.map((host) => ({
  ...host,
  pair: createSelfSignedCertificate({ names: [host.hostname], days: 1 }),
}))

/** Starts it; disposing it checks that nothing is left. */
export async function startGate(options: GateHarnessOptions = {}): Promise<GateHarness> {
  const clock = options.clock ?? systemClock
  const counters = new Counters()
  const accepted: GatedConnection[] = []
  const logs: LogLine[] = []
  const sockets = new Set<Socket>()
  const terminator = createTerminator(clock, counters)
  const idleMonitor = new IdleMonitor(clock)
  const rules = new InboundRules({ defaultAction: 'allow', rules: options.rules ?? [] })
  const hostMap = new HostMap({
    hosts: hosts.map(({ pair: { certificate, privateKey }, ...host }) => ({
      ...host,
      certificate: terminator.createCertificate({ cert: certificate, key: privateKey }),
    })),
    pass: options.pass ?? [],
  })
  const gate = new Gate(
    {
      helloTimeoutMs: HELLO_TIMEOUT_MS,
      unknownSni: 'decoy',
      denied: 'drop',
      proxyProtocolFrom: [],
      ...options.gate,
      limits: { ...LIMITS, ...options.limits },
    },
    rules,
    hostMap,
    {
      clock,
      counters,
      log: pino({ level: 'warn' }, { write: (line) => void logs.push(JSON.parse(line) as LogLine) }),
      onConnection: (connection) => {
        accepted.push(connection)
        terminator.accept(connection)
      },
      onNotTls: options.onNotTls ?? (({ socket }) => void socket.destroy()),
      mayAccept: () => true,
      addresses: openAddresses(),
      places: new OpenLedger().endpoint,
      splice: (client, upstream) => {
        void relayStreams(relayEnd(client), relayEnd(upstream), {
          idleTimeoutMs: 60_000,
          idleMonitor,
          signal: new AbortController().signal,
        }).catch(() => {})
      },
    },
  )
  // As the lane does.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    gate.accept(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const waitFor = (name: string, value: number): Promise<void> => waitForCounter(counters, name, value)
  return {
    port: (server.address() as AddressInfo).port,
    gate,
    counters,
    logs,
    update: (change) => gate.update({ rules, hosts: hostMap, ...change }),
    accepted,
    waitFor,
    async [Symbol.asyncDispose]() {
      server.close()
      gate.destroy()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
      await waitFor('gate_connections', 0)
      await waitFor('gate_handshakes', 0)
    },
  }
}

function relayEnd(io: Socket): StreamEnd {
  return { io, reset: () => void io.destroy() }
}

function createTerminator(clock: Clock, counters: Counters): TlsTerminator {
  return new TlsTerminator(
    {
      protocolsOf: () => ['http/1.1', 'h2'],
      handshakeTimeoutMs: HELLO_TIMEOUT_MS,
      ticketKeys: Buffer.alloc(48, 1),
    },
    {
      clock,
      counters,
      onHttp1: ({ socket, channel, serverName, remoteAddress, remotePort }) => {
        socket.write(`${JSON.stringify({ channel, serverName, remoteAddress, remotePort })}\n`)
        socket.pipe(socket)
      },
      onHttp2: ({ socket }) => void socket.destroy(),
    },
  )
}

async function waitForCounter(counters: Counters, name: string, value: number): Promise<void> {
  const deadline = performance.now() + 10_000
  while ((counters.snapshot()[name] ?? 0) !== value) {
    if (performance.now() > deadline) {
      throw new Error(`${name} is not ${value}: ${JSON.stringify(counters.snapshot())}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
