/**
 * Entry point of a process with two TCP ports that differ only in the gate: TLS and HTTP/1.1 behind both, an echo in
 * place of a target. In one process both are compiled the same way and meet the same noise, so a small difference can
 * be seen.
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import { createSelfSignedCertificate } from '../../src/cli/try/certificate.ts'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { Gate } from '../../src/gate/gate.ts'
import { HostMap } from '../../src/gate/host-map.ts'
import { InboundRules } from '../../src/gate/inbound-rules.ts'
import { HTTP1_OPTIONS } from '../../src/lane/options.ts'
import { nginxStyle } from '../../src/web/nginx/answer-head.ts'
import { Http1Transport } from '../../src/transport/http1/transport.ts'
import { SlabPool } from '../../src/transport/slab-pool.ts'
import { TlsTerminator } from '../../src/transport/tls.ts'
import type { Host } from '../../src/contract/gated-connection.ts'
import type { Exchange } from '../../src/contract/exchange.ts'
import type { SessionListener } from '../../src/contract/session-listener.ts'
import { inboundRules } from '../support/rules.ts'
import { serveRequests } from './pinned-process.ts'
import { openAddresses, OpenLedger } from '../support/lane-share.ts'

export type GateRequest = { readonly do: 'listen'; readonly serverName: string } | { readonly do: 'cpu' }

export interface GatePorts {
  readonly gated: number
  readonly direct: number
}

const MANY = 1_000_000_000
const LIMITS = {
  handshakesPerAddress: MANY,
  handshakesTotal: MANY,
  connectionsPerAddress: MANY,
  connectionsTotal: MANY,
  connectionBurst: MANY,
  connectionRate: MANY,
}
const TIMEOUT_MS = 10_000

serveRequests(async (request: GateRequest) => {
  if (request.do === 'listen') return listen(request.serverName)
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
})

async function listen(serverName: string): Promise<GatePorts> {
  const counters = new Counters()
  const deps = { clock: systemClock, counters }
  const http1 = new Http1Transport(
    { ...HTTP1_OPTIONS, headTimeoutMs: TIMEOUT_MS },
    {
      ...deps,
      acceptSession: () => echoSession,
      style: { ...nginxStyle, mayUpgrade: () => false },
      slabs: new SlabPool(),
    },
  )
  const tls = new TlsTerminator(
    { protocolsOf: () => ['http/1.1'], handshakeTimeoutMs: TIMEOUT_MS, ticketKeys: randomBytes(48) },
    { ...deps, onHttp1: (connection) => http1.accept(connection), onHttp2: ({ socket }) => socket.destroy() },
  )
  const { certificate, privateKey } = createSelfSignedCertificate({ names: [serverName], days: 2 })
  const host: Host = {
    channel: 'main',
    hostname: serverName,
    allowedSni: [],
    certificate: tls.createCertificate({ cert: certificate, key: privateKey }),
  }
  const gate = new Gate(
    {
      helloTimeoutMs: TIMEOUT_MS,
      unknownSni: 'drop',
      denied: 'drop',
      proxyProtocolFrom: [],
      limits: LIMITS,
    },
    // A rule that looks at the ClientHello and lets everybody in, as operators have it.
    new InboundRules({
      defaultAction: 'allow',
      rules: inboundRules({ clientRandomPrefix: 'ffffffffff', action: 'deny' }),
    }),
    new HostMap({ hosts: [host], pass: [] }),
    {
      ...deps,
      log: pino({ enabled: false }),
      onConnection: (c) => tls.accept(c),
      splice: (c) => c.destroy(),
      onNotTls: ({ socket }) => void socket.destroy(),
      mayAccept: () => true,
      addresses: openAddresses(),
      places: new OpenLedger().endpoint,
    },
  )
  return {
    gated: await open((socket) => gate.accept(socket)),
    direct: await open((socket) => acceptDirectly(socket, tls, host)),
  }
}

async function open(accept: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, accept).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** What would remain without a gate. */
function acceptDirectly(socket: Socket, tls: TlsTerminator, host: Host): void {
  socket.on('error', () => {})
  socket.setNoDelay(true)
  tls.accept({
    socket,
    remoteAddress: socket.remoteAddress ?? '',
    remotePort: socket.remotePort ?? 0,
    serverName: host.hostname,
    alpn: ['http/1.1'],
    channel: 'main',
    host,
    handshakeDone: () => {},
  })
}

const echoSession: SessionListener = {
  onExchange(exchange: Exchange): void {
    if (exchange.kind !== 'connect') return exchange.refuse(405)
    const { io } = exchange.accept()
    io.on('error', () => {})
    io.on('data', (chunk: Buffer) => io.write(chunk))
    io.once('end', () => io.end())
  },
  onClose(): void {},
}
