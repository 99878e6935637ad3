/** Translates keys of the configuration into options of the rooms. Only this file knows the keys; no room does. */
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { defaultsOf } from '../config/schema.ts'
import type { HostSettings, Settings } from '../config/settings.ts'
import { vpnFields } from '../config/vpn-fields.ts'
import type { GateOptions } from '../gate/gate.ts'
import type { HostMapOptions } from '../gate/host-map.ts'
import type { OutboundRulesOptions } from '../egress/outbound-rules.ts'
import type { LaneShare, ListenAddress } from './messages.ts'
import type { SpillOptions } from '../relay/spill-area.ts'
import type { WebSiteOptions } from '../web/site.ts'
import { MAX_EVENT_DEBT } from '../transport/http3/options.ts'
import type { Http2Options } from '../transport/http2/announcement.ts'
import type { Http3Options } from '../transport/http3/options.ts'
import type { Host } from '../contract/gated-connection.ts'
import type { Channel } from '../contract/session.ts'
import type { Certificate, TcpProtocol, TlsTerminatorOptions } from '../transport/tls.ts'
import type { ClientCredentials } from '../users/directory.ts'

const SECOND = 1000

/** For ping and speed-test hosts, which speak HTTP/2 even where no file enables it. */
const HTTP2_UNSAID = defaultsOf(vpnFields.listen_protocols.fields.http2)

const ICMP_UNSAID = defaultsOf(vpnFields.icmp)

/** Limits that have no key (`docs/limits.md`). */
const UDP_LIMITS = { maxFlowsPerUser: 4096, maxFlows: 16_384, queueDatagrams: 4096 } as const
const MAX_UDP_SEND_QUEUE_BYTES = 262_144
const ICMP_LIMITS = { maxPending: 16_384, maxPendingPerUser: 1024 } as const
/** Idle limit of connections that are passed on to another server. */
export const PASS_IDLE_MS = 3_600_000
/** What nginx announces, and its `large_client_header_buffers`. */
const NGINX_HTTP2 = {
  maxConcurrentStreams: 128,
  streamWindowBytes: 65_536,
  sessionWindowBytes: 2 ** 31 - 1,
  maxFrameBytes: 2 ** 24 - 1,
  maxHeadBytes: 32_768,
  maxStringBytes: 8192,
} as const
/** However large a list of headers the file allows. */
const MAX_HTTP2_HEAD_BYTES = 262_144
/** The specification's values, for users. */
const USER_STREAMS = 1000
const USER_STREAM_WINDOW_BYTES = 131_072
/** nginx's defaults. */
export const HTTP1_OPTIONS = {
  headTimeoutMs: 60_000,
  idleTimeoutMs: 75_000,
  maxRequests: 1000,
  maxAgeMs: 3_600_000,
} as const
const HOSTS_PATH = '/etc/hosts'
const DISK_FOR_TEMPORARY_FILES = '/var/tmp'
const HTTP3_FIXED = {
  /** Twice the sum of the 30 s between two health checks of an official client and the 7 s that a check may take. */
  maxIdleTimeoutMs: 2 * (30_000 + 7_000),
  maxConnections: 10_000,
  retry: true,
} as const

/** The lists of `hosts.toml`, and the channel of each. */
const HOST_CHANNELS = [
  ['main_hosts', 'main'],
  ['ping_hosts', 'ping'],
  ['speedtest_hosts', 'speedtest'],
  ['reverse_proxy_hosts', 'reverse_proxy'],
] as const

/** The reference endpoint does not speak HTTP/2 there. */
const REVERSE_PROXY_PROTOCOLS: readonly TcpProtocol[] = ['http/1.1']
const BOTH_PROTOCOLS: readonly TcpProtocol[] = ['h2', 'http/1.1']

/** A host whose certificate TLS has not read yet. */
interface HostOptions extends Omit<Host, 'certificate'> {
  readonly certificate: Certificate
}

export interface Hosts {
  readonly hosts: readonly HostOptions[]
  readonly pass: HostMapOptions['pass']
}

export function hosts({ hosts: lists, vpn }: Settings): Hosts {
  const all = HOST_CHANNELS.flatMap(([list, channel]) =>
    lists[list].map((host): HostOptions => ({
      channel,
      hostname: host.hostname,
      allowedSni: host.allowed_sni,
      certificate: certificateOf(host),
    })),
  )
  return { hosts: all, pass: vpn.culvert.edge.pass }
}

/** The certificate that QUIC shows under every name: the first main host's. */
function quicCertificate({ hosts: lists }: Settings): Certificate | undefined {
  const [first] = lists.main_hosts
  return first && certificateOf(first)
}

function certificateOf({ cert_chain, private_key }: HostSettings): Certificate {
  return { cert: cert_chain, key: private_key }
}

export function clientCredentials({ vpn, clients }: Settings): ClientCredentials[] {
  return clients.map(({ username, password, aliases, max_http2_conns, max_http3_conns }) => ({
    username,
    password,
    aliases: aliases.map((alias) => ({ ...alias, validUntil: alias.validUntil ?? Infinity })),
    maxTcpSessions: max_http2_conns ?? vpn.default_max_http2_conns_per_client,
    maxQuicSessions: max_http3_conns ?? vpn.default_max_http3_conns_per_client,
  }))
}

/** What a change replaces. Exactly these depend on keys that are `reloadable` in the field table. */
export function reloadable(settings: Settings) {
  return {
    inboundRules: inboundRules(settings),
    outboundRules: outboundRules(settings),
    hosts: hosts(settings),
    quicCertificate: quicCertificate(settings),
    clientCredentials: clientCredentials(settings),
  }
}

export function tlsOptions(settings: Settings, ticketKeys: Buffer): TlsTerminatorOptions {
  const handshakeTimeoutMs = settings.vpn.tls_handshake_timeout_secs * SECOND
  return { protocolsOf: protocolsOf(settings), handshakeTimeoutMs, ticketKeys }
}

/** Protocols over TCP on each channel, best first. Ping and speed test are served even where tunnels are off. */
function protocolsOf({ vpn }: Settings): (channel: Channel) => readonly TcpProtocol[] {
  const { http1, http2 } = vpn.listen_protocols
  const tunnels = BOTH_PROTOCOLS.filter((protocol) => (protocol === 'h2' ? http2 : http1) !== null)
  // There is a TCP listener even where only QUIC is enabled; strangers find a web site on it.
  const main = tunnels.length > 0 ? tunnels : BOTH_PROTOCOLS
  return (channel) => {
    if (channel === 'main') return main
    return channel === 'reverse_proxy' ? REVERSE_PROXY_PROTOCOLS : BOTH_PROTOCOLS
  }
}

/** What the file sets is announced to everybody; what it does not set is nginx's value for visitors. */
export function http2Options({ vpn }: Settings): Http2Options {
  const http2 = vpn.listen_protocols.http2 ?? HTTP2_UNSAID
  const announced = {
    maxConcurrentStreams: http2.max_concurrent_streams ?? NGINX_HTTP2.maxConcurrentStreams,
    streamWindowBytes: http2.initial_stream_window_size ?? NGINX_HTTP2.streamWindowBytes,
    sessionWindowBytes: http2.initial_connection_window_size ?? NGINX_HTTP2.sessionWindowBytes,
    maxFrameBytes: http2.max_frame_size ?? NGINX_HTTP2.maxFrameBytes,
    maxHeaderListBytes: http2.header_table_size ?? undefined,
  }
  const trusted = {
    maxConcurrentStreams: Math.max(
      announced.maxConcurrentStreams,
      http2.max_concurrent_streams ?? USER_STREAMS,
    ),
    streamWindowBytes: http2.initial_stream_window_size ?? USER_STREAM_WINDOW_BYTES,
  }
  const listBytes = Math.min(http2.header_table_size ?? 0, MAX_HTTP2_HEAD_BYTES)
  const heads = {
    maxHeadBytes: Math.max(listBytes, NGINX_HTTP2.maxHeadBytes),
    maxStringBytes: Math.max(listBytes, NGINX_HTTP2.maxStringBytes),
  }
  return { announced, trusted, heads }
}

export function sessionIdleMs({ vpn }: Settings): number {
  return vpn.client_listener_timeout_secs * SECOND
}

export function tcpEgress({ vpn }: Settings) {
  return { connectTimeoutMs: vpn.connection_establishment_timeout_secs * SECOND }
}

export function tcpForwarding({ vpn }: Settings) {
  return { idleTimeoutMs: vpn.tcp_connections_timeout_secs * SECOND }
}

export function udpForwarding({ vpn }: Settings) {
  return {
    ...UDP_LIMITS,
    idleTimeoutMs: vpn.udp_connections_timeout_secs * SECOND,
    maxFlowsPerStream: vpn.culvert.udp.max_flows_per_stream,
    queueBytes: vpn.culvert.udp.queue_bytes,
  }
}

export function resolver({ vpn }: Settings) {
  return { ipv6: vpn.ipv6_available, servers: vpn.culvert.dns.servers, hostsPath: HOSTS_PATH }
}

/** Undefined without `[icmp]`. */
export function icmp({ vpn }: Settings) {
  if (vpn.icmp === null) return undefined
  return {
    interfaceName: vpn.icmp.interface_name ?? undefined,
    requestTimeoutMs: vpn.icmp.request_timeout_secs * SECOND,
    ...ICMP_LIMITS,
  }
}

export function icmpForwarding({ vpn }: Settings) {
  return { queueCapacity: (vpn.icmp ?? ICMP_UNSAID).recv_message_queue_capacity }
}

export function udpEgress({ vpn }: Settings) {
  return { ipv6Available: vpn.ipv6_available, maxSendQueueBytes: MAX_UDP_SEND_QUEUE_BYTES }
}

export function gateOptions({ vpn }: Settings): GateOptions {
  const { edge } = vpn.culvert
  return {
    helloTimeoutMs: vpn.tls_handshake_timeout_secs * SECOND,
    unknownSni: edge.unknown_sni,
    denied: 'decoy',
    proxyProtocolFrom: edge.proxy_protocol_from,
    limits: {
      handshakesPerAddress: edge.handshakes_per_address,
      handshakesTotal: edge.handshakes_total,
      connectionsPerAddress: edge.connections_per_address,
      connectionsTotal: edge.connections_total,
      connectionBurst: edge.connection_burst,
      connectionRate: edge.connection_rate,
    },
  }
}

export function inboundRules({ rules }: Settings) {
  return {
    defaultAction: rules.inbound.default_action,
    rules: rules.inbound.rules.map((rule) => ({
      source: rule.cidr,
      randomPrefix: rule.client_random_prefix,
      pskKey: rule.client_random_psk_key,
      action: rule.action,
    })),
  }
}

/** Undefined without `[listen_protocols.quic]`, and in all lanes but the first. The port is the one that TCP was given. */
export function http3Options(
  settings: Settings,
  address: ListenAddress,
  { lane, isHeir }: Pick<LaneShare, 'lane' | 'isHeir'>,
): Http3Options | undefined {
  // The library has one socket for a port and one count of events for the process (docs/decisions/002-http3-package.md).
  if (lane !== 0) return undefined
  const { quic } = settings.vpn.listen_protocols
  const certificate = quicCertificate(settings)
  if (quic === null || certificate === undefined) return undefined
  return {
    ...HTTP3_FIXED,
    host: address.address,
    port: address.port,
    cert: Buffer.from(certificate.cert),
    key: Buffer.from(certificate.key),
    initialMaxDataBytes: quic.initial_max_data,
    maxStreamsBidi: quic.initial_max_streams_bidi,
    handshakeTimeoutMs: settings.vpn.tls_handshake_timeout_secs * SECOND,
    disableActiveMigration: quic.disable_active_migration,
    eventDebt: MAX_EVENT_DEBT,
    isHeir,
  }
}

export function spillOptions({ vpn }: Settings): SpillOptions {
  const { http3 } = vpn.culvert
  return {
    directory: http3.spill_directory ?? spillDirectory(),
    memoryBytes: http3.upload_memory,
    budgetBytes: http3.upload_spill_per_user,
  }
}

/** On disk rather than in memory, which is where `/tmp` often is. */
function spillDirectory(): string {
  return existsSync(DISK_FOR_TEMPORARY_FILES) ? DISK_FOR_TEMPORARY_FILES : tmpdir()
}

export function dispatcherOptions({ vpn }: Settings) {
  return {
    authFailureStatus: vpn.auth_failure_status_code,
    realm: vpn.culvert.auth.realm,
    privacy: vpn.culvert.log.privacy,
    severalUsersPerSession: vpn.allow_multiple_credentials_per_connection,
    maxTunnelsPerUser: vpn.culvert.users.max_tunnels,
  }
}

export function authThrottle({ vpn }: Settings) {
  return { maxFailures: vpn.max_auth_failures, refillMs: vpn.auth_failure_refill_secs * SECOND }
}

export function addressPolicy({ vpn }: Settings) {
  return {
    allowPrivate: vpn.allow_private_network_connections,
    ipv6: vpn.ipv6_available,
    exemptions: vpn.culvert.egress.allow,
  }
}

export function outboundRules({ rules }: Settings): OutboundRulesOptions {
  return {
    defaultAction: rules.outbound.default_action,
    rules: rules.outbound.rules.map((rule) => ({
      ports: rule.destination_port,
      destination: rule.destination_cidr,
      action: rule.action,
    })),
  }
}

export function webSiteOptions(settings: Settings, lanes: number): WebSiteOptions {
  const { vpn } = settings
  const { decoy } = vpn.culvert
  const proxy = vpn.reverse_proxy
  return {
    ...(vpn.ping_enable && { pingPath: vpn.ping_path }),
    ...(vpn.speedtest_enable && { speedtestPath: vpn.speedtest_path }),
    ...(proxy && { reverseProxyPath: proxy.path_mask }),
    ...(vpn.non_connect_auth_failure_status_code !== null && {
      strangerStatus: vpn.non_connect_auth_failure_status_code,
    }),
    decoyRoot: decoy.root ?? undefined,
    decoyOrigin: decoy.origin ?? undefined,
    index: decoy.index,
    port: vpn.listen_address.port,
    proxied: proxy
      ? {
          origin: { protocol: 'http:', host: proxy.server_address.address, port: proxy.server_address.port },
          h3BackwardCompatibility: proxy.h3_backward_compatibility,
        }
      : undefined,
    connectTimeoutMs: vpn.connection_establishment_timeout_secs * SECOND,
    lanes,
    speedtestStallMs: vpn.tls_handshake_timeout_secs * SECOND,
    forwardIdleMs: tcpForwarding(settings).idleTimeoutMs,
    privacy: vpn.culvert.log.privacy,
  }
}
