/**
 * Creates every room of a lane and connects them through the interfaces that they declare. Rooms are created nowhere
 * else.
 */
import { randomFillSync } from 'node:crypto'
import type { Socket } from 'node:net'
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
import { OwnAddresses, readOwnAddresses } from '../egress/own-addresses.ts'
import { UdpEgress } from '../egress/udp.ts'
import { CheckForwarder } from '../forward/check.ts'
import { IcmpForwarder } from '../forward/icmp.ts'
import { TcpForwarder } from '../forward/tcp.ts'
import { UdpForwarder } from '../forward/udp.ts'
import { Gate } from '../gate/gate.ts'
import { HostMap } from '../gate/host-map.ts'
import { InboundRules } from '../gate/inbound-rules.ts'
import { countDescriptors, DescriptorReserve, readDescriptorLimit, SHARE_OF_A_USER } from './descriptors.ts'
import * as map from './options.ts'
import type { Log } from '../log.ts'
import { IdleMonitor } from '../relay/idle-monitor.ts'
import { SocketEnd } from '../relay/tcp-end.ts'
import { ReadPool } from '../relay/read-pool.ts'
import { SpillArea } from '../relay/spill-area.ts'
import { relayStreams } from '../relay/stream-relay.ts'
import { nginxStyle } from '../web/nginx/answer-head.ts'
import { answerPlainHttp } from '../web/nginx/plain-http.ts'
import type { PlaceRecord } from '../web/places.ts'
import { createWebSite } from '../web/site.ts'
import type { WebPlace } from '../web/site.ts'
import { Http1Transport } from '../transport/http1/transport.ts'
import type { Http1Style } from '../transport/http1/head.ts'
import { Http2Transport } from '../transport/http2/transport.ts'
import { Http3Transport } from '../transport/http3/transport.ts'
import type { Http3Options } from '../transport/http3/options.ts'
import { SlabPool } from '../transport/slab-pool.ts'
import { TlsTerminator } from '../transport/tls.ts'
import type { AcceptSession } from '../contract/session-listener.ts'
import { AuthThrottle } from '../dispatch/auth-throttle.ts'
import { SessionRegistry } from '../dispatch/session-registry.ts'
import { Dispatcher } from '../dispatch/dispatcher.ts'
import type { Forwarders } from '../dispatch/tunnel.ts'
import { Directory } from '../users/directory.ts'
import type { ClientCredentials } from '../users/directory.ts'
import { AddressTable } from '../users/address-table.ts'
import { Ledger } from '../users/ledger.ts'
import { isLoopback } from '../wire/ip-kind.ts'
import type { LaneShare, ListenAddress } from './messages.ts'

export interface LaneDependencies {
  readonly clock: Clock
  readonly log: Log
  /** 48 bytes, the same for all lanes. */
  readonly ticketKeys: Buffer
  readonly share: LaneShare
}

/** The parts of one lane. */
export interface Rooms {
  readonly counters: Counters
  readonly registry: SessionRegistry
  readonly dispatcher: Dispatcher
  readonly gate: Gate
  readonly tls: TlsTerminator
  readonly policy: EgressPolicy
  readonly icmp: IcmpEgress | undefined
  readonly descriptors: DescriptorReserve
  readonly ledger: Ledger
  /** Ends everything now, what was opened last first. Idempotent. */
  destroy(reason: Error): void
}

/** Leaves nothing open when it fails. */
export async function openRooms(settings: Settings, deps: LaneDependencies): Promise<Rooms> {
  const { clock, log, share } = deps
  using opened = new DisposableStack()
  let endReason = new Error('start has failed')
  const counters = new Counters()
  const ledger = new Ledger(share.ledger, share.lane)
  const addresses = new AddressTable(share.addresses, share.lane)
  const policy = new EgressPolicy(
    new AddressPolicy(map.addressPolicy(settings), new OwnAddresses({ clock, read: readOwnAddresses })),
    new OutboundRules(map.outboundRules(settings)),
  )
  const icmp = await openIcmpEgress(settings, { policy, counters, ledger }, deps)
  opened.defer(() => icmp?.close())
  const descriptors = new DescriptorReserve({
    clock,
    counters,
    counted: ledger.endpoint,
    limit: readDescriptorLimit(),
    count: countDescriptors,
  })
  opened.defer(() => descriptors.close())
  const { mayDial, mayAccept } = descriptors
  const idleMonitor = new IdleMonitor(clock)
  const dialer = createTcpEgress(settings, { policy, counters, clock, mayDial })
  const forwarders = createForwarders(settings, {
    policy,
    icmp,
    idleMonitor,
    counters,
    clock,
    dialer,
    descriptors,
    ledger,
  })
  const site = createWebSite(map.webSiteOptions(settings, share.lanes), {
    clock,
    counters,
    log,
    dialer,
    idleMonitor,
    isOwnName: (name) => gate.isOwnName(name),
    descriptors,
    placesOf: (what) => placeRecord(what, ledger, addresses, clock),
  })
  opened.defer(() => site.destroy())
  const acceptSession: AcceptSession = (session) => dispatcher.acceptSession(session)
  const slabs = new SlabPool()
  const http2 = new Http2Transport(map.http2Options(settings), { clock, counters, acceptSession, slabs })
  opened.defer(() => http2.destroy())
  // After what its sessions use until they have ended.
  const registry = new SessionRegistry({ idleTimeoutMs: map.sessionIdleMs(settings) }, { clock, counters })
  opened.defer(() => registry.destroy(endReason))
  const limits = map.dispatcherOptions(settings)
  const maxTunnelsPerUser = descriptors.lower(limits.maxTunnelsPerUser, SHARE_OF_A_USER.tunnels)
  const dispatcher = new Dispatcher(
    { ...limits, maxTunnelsPerUser },
    {
      clock,
      counters,
      log,
      registry,
      throttle: new AuthThrottle(map.authThrottle(settings), { clock, failures: addresses }),
      slots: ledger,
      directory: createDirectory(map.clientCredentials(settings), settings.vpn.listen_address),
      site: site.router,
      forwarders,
    },
  )
  const mayUpgrade: Http1Style['mayUpgrade'] = (...asked) => site.router.mayUpgrade(...asked)
  const http1 = new Http1Transport(map.HTTP1_OPTIONS, {
    clock,
    counters,
    acceptSession,
    style: { ...nginxStyle, mayUpgrade },
    slabs,
  })
  const tls = new TlsTerminator(map.tlsOptions(settings, deps.ticketKeys), {
    clock,
    counters,
    onHttp1: (connection) => http1.accept(connection),
    onHttp2: (connection) => http2.accept(connection),
  })
  const rules = new InboundRules(map.inboundRules(settings))
  const hosts = createHostMap(map.hosts(settings), tls)
  const gate = new Gate(map.gateOptions(settings), rules, hosts, {
    clock,
    counters,
    log,
    onConnection: (connection) => tls.accept(connection),
    onNotTls: ({ socket }) =>
      answerPlainHttp(socket, { headTimeoutMs: map.HTTP1_OPTIONS.headTimeoutMs }, { clock, counters }),
    addresses,
    places: ledger.endpoint,
    splice: (client, upstream) => void splice(client, upstream, idleMonitor),
    mayAccept,
  })
  opened.defer(() => gate.destroy())
  const rooms = opened.move()
  const destroy = (reason: Error): void => {
    endReason = reason
    rooms.dispose()
  }
  return { counters, registry, dispatcher, gate, tls, policy, icmp, descriptors, ledger, destroy }
}

/**
 * Without users everybody is let in, so that only this machine may connect then. The checks of the configuration say so
 * earlier and better; this one holds whatever they miss. Throws when others could connect.
 */
export function createDirectory(users: readonly ClientCredentials[], listening: ListenAddress): Directory {
  if (users.length === 0 && !isLoopback(listening.address))
    throw new Error('no users, while listening on a public address: everybody would be let in')
  return new Directory(users)
}

/** Throws when a certificate and its key cannot be used. */
export function createHostMap({ hosts, pass }: map.Hosts, tls: TlsTerminator): HostMap {
  const ready = hosts.map((host) => ({ ...host, certificate: tls.createCertificate(host.certificate) }))
  return new HostMap({ hosts: ready, pass })
}

export function createHttp3(
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
    userOf: (session) => dispatcher.userOf(session),
    admit: (address) => rooms.gate.admitQuic(address),
  })
}

function createTcpEgress(
  settings: Settings,
  deps: Pick<Rooms, 'counters' | 'policy'> & { clock: Clock; mayDial: () => boolean },
): TcpEgress {
  const { counters, policy, clock, mayDial } = deps
  return new TcpEgress({
    ...map.tcpEgress(settings),
    policy,
    resolver: new Resolver({ ...map.resolver(settings), clock }),
    clock,
    counters,
    mayDial,
    memory: new ReadPool(),
  })
}

function createForwarders(
  settings: Settings,
  deps: Pick<Rooms, 'counters' | 'policy' | 'icmp' | 'descriptors' | 'ledger'> & {
    idleMonitor: IdleMonitor
    clock: Clock
    dialer: TcpEgress
  },
): Forwarders {
  const { counters, policy, icmp, idleMonitor, clock, dialer, descriptors, ledger } = deps
  const udp = new UdpEgress({ ...map.udpEgress(settings), policy, counters, mayDial: descriptors.mayDial })
  const limits = map.udpForwarding(settings)
  const maxFlowsPerUser = descriptors.lower(limits.maxFlowsPerUser, SHARE_OF_A_USER.flows)
  return {
    tcp: new TcpForwarder({ ...map.tcpForwarding(settings), dialer, idleMonitor }),
    udp: new UdpForwarder({ ...limits, maxFlowsPerUser, dialer: udp, clock, counters, slots: ledger }),
    icmp: new IcmpForwarder({ ...map.icmpForwarding(settings), sender: icmp, counters }),
    check: new CheckForwarder(),
  }
}

async function openIcmpEgress(
  settings: Settings,
  { policy, counters, ledger }: Pick<Rooms, 'policy' | 'counters' | 'ledger'>,
  { clock, log }: LaneDependencies,
): Promise<IcmpEgress | undefined> {
  const options = map.icmp(settings)
  if (options === undefined) return undefined
  const ipv6Available = settings.vpn.ipv6_available
  return openIcmp({ ...options, ipv6Available, policy, fillRandom, clock, counters, log, slots: ledger })
}

function placeRecord(what: WebPlace, ledger: Ledger, addresses: AddressTable, clock: Clock): PlaceRecord {
  return {
    take: (limit) => ledger.endpoint.take(what, limit),
    give: () => ledger.endpoint.give(what),
    takeOf: (address, limit) => addresses.hold(address, what, limit, clock.now()),
  }
}

const fillRandom = (bytes: Buffer): void => void randomFillSync(bytes)

/** Connects a client that is not ours with the server that its connection is for. */
async function splice(client: Socket, upstream: Socket, idleMonitor: IdleMonitor): Promise<void> {
  const options = { idleMonitor, idleTimeoutMs: map.PASS_IDLE_MS, signal: new AbortController().signal }
  await relayStreams(new SocketEnd(client), new SocketEnd(upstream), options)
}
