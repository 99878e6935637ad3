/**
 * Composition root of one data-plane thread (`docs/architecture.md`): constructs every room, joins them through the
 * interfaces that they declare, and ends them in order. Nothing else constructs rooms.
 */
import { once } from 'node:events'
import { randomFillSync } from 'node:crypto'
import net from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Clock } from '../clock.ts'
import type { Settings } from '../config/settings.ts'
import { Counters } from '../counters.ts'
import { AddressPolicy } from '../egress/address-policy.ts'
import { TcpEgress } from '../egress/tcp.ts'
import { EgressPolicy } from '../egress/egress-policy.ts'
import { openIcmp } from '../egress/icmp.ts'
import type { IcmpEgress } from '../egress/icmp.ts'
import { OutboundRules } from '../egress/outbound-rules.ts'
import { Resolver } from '../egress/resolver.ts'
import { OwnAddresses, readInterfaceAddresses } from '../egress/own-addresses.ts'
import { UdpEgress } from '../egress/udp.ts'
import { CheckForwarder } from '../forward/check.ts'
import { IcmpForwarder } from '../forward/icmp.ts'
import { TcpForwarder } from '../forward/tcp.ts'
import { UdpForwarder } from '../forward/udp.ts'
import { Gate } from '../gate/gate.ts'
import { HostMap } from '../gate/host-map.ts'
import { InboundRules } from '../gate/inbound-rules.ts'
import { countDescriptors, DescriptorReserve, readDescriptorLimit } from './descriptors.ts'
import * as map from './options.ts'
import type { ListenAddress } from './messages.ts'
import type { Log } from '../log.ts'
import { IdleMonitor } from '../relay/idle-monitor.ts'
import { tcpEnd } from '../relay/tcp-end.ts'
import { ReadPool } from '../relay/read-pool.ts'
import { SpillArea } from '../relay/spill-area.ts'
import { relayStreams } from '../relay/stream-relay.ts'
import { nginxStyle } from '../web/nginx/answer-head.ts'
import { answerPlainHttp } from '../web/nginx/plain-http.ts'
import { createWebSite } from '../web/site.ts'
import type { WebSite } from '../web/site.ts'
import { Http1Transport } from '../transport/http1/transport.ts'
import type { Http1Style } from '../transport/http1/head.ts'
import { Http2Transport } from '../transport/http2/transport.ts'
import { Http3Transport } from '../transport/http3/transport.ts'
import type { Http3Options, Http3Replacement, Http3Start } from '../transport/http3/transport.ts'
import { TlsTerminator } from '../transport/tls.ts'
import { AuthThrottle } from '../dispatch/auth-throttle.ts'
import { SessionRegistry } from '../dispatch/session-registry.ts'
import { Dispatcher } from '../dispatch/dispatcher.ts'
import type { Forwarders } from '../dispatch/dispatcher.ts'
import { Directory } from '../users/directory.ts'

export interface LaneDependencies {
  readonly clock: Clock
  readonly log: Log
  /** 48 bytes, the same for all lanes. */
  readonly ticketKeys: Buffer
}

const LISTEN_BACKLOG = 1024
/** Idle limit of connections that are passed on to another server. */
const PASS_IDLE_MS = 3_600_000
/** nginx's limits of a request's head: 4 buffers of 8 KiB, 60 s. */
const HEAD_TIMEOUT_MS = 60_000
const HTTP1_OPTIONS = { headTimeoutMs: HEAD_TIMEOUT_MS, maxHeadBytes: 32_768 }

export class Lane {
  readonly address: ListenAddress
  readonly #deps: LaneDependencies
  readonly #server: net.Server
  readonly #rooms: Rooms
  #http3: Http3Transport | undefined
  /** What HTTP/3 shows; it holds one certificate only. */
  #http3Certificate = ''
  #closing: Promise<void> | undefined

  private constructor(deps: LaneDependencies, server: net.Server, rooms: Rooms) {
    this.#deps = deps
    this.#server = server
    this.#rooms = rooms
    const { address, port } = server.address() as AddressInfo
    this.address = { address, port }
  }

  /** Resolves when connections are accepted. A failed start leaves nothing open. */
  static async open(settings: Settings, deps: LaneDependencies): Promise<Lane> {
    const rooms = await openRooms(settings, deps)
    const server = net.createServer({ allowHalfOpen: true }, (socket) => rooms.gate.accept(socket))
    try {
      await listen(server, settings.vpn.listen_address)
      const lane = new Lane(deps, server, rooms)
      await lane.#openHttp3(settings)
      return lane
    } catch (error) {
      server.close()
      destroyRooms(rooms, new Error('start has failed'))
      throw error
    }
  }

  /** UDP on the port that TCP has got. Without the addon for this platform the other versions go on alone. */
  async #openHttp3(settings: Settings): Promise<void> {
    const options = map.http3Options(settings, this.address)
    if (options === undefined) return
    const { log } = this.#deps
    const http3 = createHttp3(options, settings, this.#rooms, this.#deps)
    const start = await http3.start()
    if (start.kind === 'unavailable') {
      return log.warn(
        { err: start.error },
        'HTTP/3 is not available on this platform; HTTP/1.1 and HTTP/2 are',
      )
    }
    this.#http3 = http3
    this.#http3Certificate = options.cert.toString() + options.key.toString()
    for (const notice of http3Notices(start, options, settings)) log.warn(notice)
  }

  /**
   * Puts new hosts, certificates, users and rules in force: all of them, or none when one cannot be used. Resolves
   * when nothing of the old is there any more.
   */
  async apply(settings: Settings): Promise<void> {
    const { tls, gate, dispatcher, policy } = this.#rooms
    const inbound = new InboundRules(map.inboundRules(settings))
    const hosts = new HostMap(map.hostMap(settings))
    const outbound = new OutboundRules(map.outboundRules(settings))
    const directory = new Directory(map.clientCredentials(settings))
    const contexts = tls.createContexts(map.certificates(settings))
    // Last, since clients meet it as soon as it stands. Everything below happens at once and cannot fail.
    const http3 = await this.#openHttp3Replacement(settings)
    tls.useContexts(contexts)
    gate.update({ rules: inbound, hosts })
    this.#rooms.inbound = inbound
    policy.replaceRules(outbound)
    dispatcher.replaceDirectory(directory)
    await http3?.takeOver()
  }

  /** Undefined when HTTP/3 shows this certificate already, or is not there. */
  async #openHttp3Replacement(settings: Settings): Promise<Pick<Http3Replacement, 'takeOver'> | undefined> {
    const options = map.http3Options(settings, this.address)
    if (this.#http3 === undefined || options === undefined) return undefined
    const certificate = options.cert.toString() + options.key.toString()
    if (certificate === this.#http3Certificate) return undefined
    const replacement = await this.#http3.openReplacement(options.cert, options.key)
    return {
      takeOver: async () => {
        this.#http3Certificate = certificate
        await replacement?.takeOver().catch((error: unknown) => {
          this.#deps.log.warn({ err: error }, 'the HTTP/3 server of the old certificate does not end')
        })
      },
    }
  }

  /** Counters and gauges by name. */
  stats(): Record<string, number> {
    return this.#rooms.counters.snapshot()
  }

  /** Stops accepting, drains the sessions for up to `graceMs`, then ends. Idempotent. */
  close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async #close(graceMs: number): Promise<void> {
    const { gate, registry } = this.#rooms
    this.#server.close()
    await Promise.all([gate.close({ graceMs }), registry.close({ graceMs }), this.#http3?.close({ graceMs })])
    this.destroy(new Error('the lane has closed'))
  }

  /** Ends everything now. Idempotent. */
  destroy(reason: Error): void {
    this.#deps.log.debug({ reason: reason.message }, 'lane ends')
    this.#server.close()
    this.#http3?.destroy(reason)
    destroyRooms(this.#rooms, reason)
  }
}

/** What one lane consists of. */
interface Rooms {
  readonly counters: Counters
  readonly registry: SessionRegistry
  readonly dispatcher: Dispatcher
  readonly gate: Gate
  /** The rules in force; HTTP/3 asks them too. */
  inbound: InboundRules
  readonly tls: TlsTerminator
  readonly http1: Http1Transport
  readonly http2: Http2Transport
  readonly site: WebSite
  readonly policy: EgressPolicy
  readonly icmp: IcmpEgress | undefined
  readonly descriptors: DescriptorReserve
}

async function listen(server: net.Server, { address, port }: ListenAddress): Promise<void> {
  server.listen({ host: address, port, backlog: LISTEN_BACKLOG })
  try {
    await once(server, 'listening')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error
    const hint =
      'low ports need the capability CAP_NET_BIND_SERVICE: put AmbientCapabilities=CAP_NET_BIND_SERVICE into the ' +
      'systemd unit, or lower the sysctl net.ipv4.ip_unprivileged_port_start'
    throw Object.assign(new Error(`cannot listen on port ${port}: ${hint}`, { cause: error }), {
      code: 'EACCES',
    })
  }
}

/** Leaves nothing open when it fails. */
async function openRooms(settings: Settings, deps: LaneDependencies): Promise<Rooms> {
  const { clock, log } = deps
  using opened = new DisposableStack()
  const counters = new Counters()
  const policy = new EgressPolicy(
    new AddressPolicy(map.addressPolicy(settings), new OwnAddresses({ clock, read: readInterfaceAddresses })),
    new OutboundRules(map.outboundRules(settings)),
  )
  const icmp = await openIcmpEgress(settings, { policy, counters }, deps)
  opened.defer(() => icmp?.close())
  const descriptors = new DescriptorReserve({
    clock,
    counters,
    limit: readDescriptorLimit(),
    count: countDescriptors,
  })
  opened.defer(() => descriptors.close())
  const { mayDial, mayAccept } = descriptors
  const idleMonitor = new IdleMonitor(clock)
  const registry = new SessionRegistry({ idleTimeoutMs: map.sessionIdleMs(settings) }, { clock, counters })
  opened.defer(() => registry.destroy(new Error('start has failed')))
  const readPool = new ReadPool()
  const dialer = createTcpEgress(settings, { policy, counters, clock, readPool, mayDial })
  const forwarders = createForwarders(settings, {
    policy,
    icmp,
    idleMonitor,
    counters,
    clock,
    dialer,
    readPool,
    mayDial,
  })
  const site = createWebSite(map.webSiteOptions(settings), { clock, counters, log, dialer })
  const dispatcher = new Dispatcher(map.dispatcherOptions(settings), {
    clock,
    counters,
    log,
    registry,
    throttle: new AuthThrottle(map.authThrottle(settings), clock),
    directory: new Directory(map.clientCredentials(settings)),
    site: site.service,
    forwarders,
  })
  const { acceptSession } = dispatcher
  const mayUpgrade: Http1Style['mayUpgrade'] = (channel, path) => site.service.mayUpgrade(channel, path)
  const http1 = new Http1Transport(HTTP1_OPTIONS, {
    clock,
    counters,
    acceptSession,
    style: { ...nginxStyle, mayUpgrade },
  })
  const http2 = new Http2Transport(map.http2Options(settings), { clock, counters, acceptSession })
  const tls = new TlsTerminator(map.tlsOptions(settings, deps.ticketKeys), {
    clock,
    counters,
    onHttp1: (connection) => http1.accept(connection),
    onHttp2: (connection) => http2.accept(connection),
  })
  tls.replaceCertificates(map.certificates(settings))
  const inbound = new InboundRules(map.inboundRules(settings))
  const gate = new Gate(map.gateOptions(settings), inbound, new HostMap(map.hostMap(settings)), {
    clock,
    counters,
    log,
    onConnection: (connection) => tls.accept(connection),
    onNotTls: ({ socket }) =>
      answerPlainHttp(socket, { headTimeoutMs: HEAD_TIMEOUT_MS }, { clock, counters }),
    splice: (client, upstream) => void splice(client, upstream, idleMonitor),
    mayAccept,
  })
  // From here on this is the business of `destroyRooms`.
  opened.move()
  return { counters, registry, dispatcher, gate, inbound, tls, http1, http2, site, policy, icmp, descriptors }
}

/** What an operator should know about HTTP/3 on this machine and with these files. */
function* http3Notices(
  start: Extract<Http3Start, { kind: 'listening' }>,
  { ioUring }: Http3Options,
  settings: Settings,
): Generator<string> {
  if (ioUring && start.driver === 'poll') {
    yield 'HTTP/3 runs without io_uring, which the kernel or a sandbox does not allow'
  }
  if (!start.keyIsPrivate) {
    yield 'other users can read the directory for temporary files, where the HTTP/3 library keeps the private key'
  }
  if (new Set(map.certificates(settings).map(({ cert }) => cert)).size > 1) {
    yield 'HTTP/3 shows the certificate of the first main host under every name'
  }
}

function createHttp3(
  options: Http3Options,
  settings: Settings,
  rooms: Rooms,
  { clock, log }: LaneDependencies,
): Http3Transport {
  const { counters, dispatcher } = rooms
  return new Http3Transport(options, {
    clock,
    counters,
    log,
    acceptSession: dispatcher.acceptSession,
    uploads: new SpillArea(map.spillOptions(settings), { counters, log }),
    channelOf: (hostname) => rooms.gate.channelOf(hostname),
    uploadKey: (session) => dispatcher.userOf(session) ?? session.id,
    admit: (address) => rooms.gate.admitQuic(address),
  })
}

function createTcpEgress(
  settings: Settings,
  deps: Pick<Rooms, 'counters' | 'policy'> & { clock: Clock; readPool: ReadPool; mayDial: () => boolean },
): TcpEgress {
  const { counters, policy, clock, readPool, mayDial } = deps
  return new TcpEgress({
    ...map.tcpEgress(settings),
    policy,
    resolver: new Resolver({ ...map.resolver(settings), clock }),
    clock,
    counters,
    mayDial,
    readInto: (socket) => readPool.readInto(socket),
  })
}

function createForwarders(
  settings: Settings,
  deps: Pick<Rooms, 'counters' | 'policy' | 'icmp'> & {
    idleMonitor: IdleMonitor
    clock: Clock
    dialer: TcpEgress
    readPool: ReadPool
    mayDial: () => boolean
  },
): Forwarders {
  const { counters, policy, icmp, idleMonitor, clock, dialer, readPool, mayDial } = deps
  const udp = new UdpEgress({ policy, ipv6Available: settings.vpn.ipv6_available, counters, mayDial })
  const queueCapacity = map.icmp(settings)?.queueCapacity
  return {
    tcp: new TcpForwarder({ ...map.tcpForwarding(settings), dialer, idleMonitor, readPool }),
    udp: new UdpForwarder({ ...map.udpForwarding(settings), dialer: udp, clock, counters }),
    icmp: new IcmpForwarder({ sender: icmp, counters, ...(queueCapacity && { queueCapacity }) }),
    check: new CheckForwarder(),
  }
}

async function openIcmpEgress(
  settings: Settings,
  { policy, counters }: Pick<Rooms, 'policy' | 'counters'>,
  { clock, log }: LaneDependencies,
): Promise<IcmpEgress | undefined> {
  const options = map.icmp(settings)
  if (options === undefined) return undefined
  const ipv6Available = settings.vpn.ipv6_available
  return openIcmp({ ...options, ipv6Available, policy, fillRandom, clock, counters, log })
}

const fillRandom = (bytes: Buffer): void => void randomFillSync(bytes)

/** Joins a connection that is not ours to the server that it is for. */
async function splice(client: Socket, upstream: Socket, idleMonitor: IdleMonitor): Promise<void> {
  const options = { idleMonitor, idleTimeoutMs: PASS_IDLE_MS, signal: new AbortController().signal }
  await relayStreams(tcpEnd(client), tcpEnd(upstream), options)
}

function destroyRooms(rooms: Rooms, reason: Error): void {
  rooms.gate.destroy()
  rooms.registry.destroy(reason)
  rooms.http1.destroy()
  rooms.http2.destroy()
  rooms.site.destroy()
  rooms.icmp?.close()
  rooms.descriptors.close()
}
