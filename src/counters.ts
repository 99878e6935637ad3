/**
 * What is counted: totals that only grow, and gauges whose value is asked for when they are read, each with at most one
 * label. The lists are complete: a name or label that is missing here does not compile. Names and labels are those of
 * the metrics page; nothing here knows who reads them.
 */
import { INTERNAL_CODES, REFUSAL_CODES } from './errors.ts'

interface Description {
  /** One sentence for whoever reads the figures. */
  readonly doc: string
  /** Every label; left out when there are none. */
  readonly labels?: readonly string[]
  /** Numbers are labels too. */
  readonly numbered?: true
  /** Anything that begins with this is a label too: a code of the system or of a library. */
  readonly prefix?: string
}

const PROTOCOLS = ['HTTP1', 'HTTP2', 'HTTP3'] as const
const DIRECTIONS = ['uplink', 'downlink'] as const
const TUNNEL_ENDS = ['ended', 'idle', 'client_reset', 'target_reset', 'aborted', 'protocol_error'] as const
const ERROR_CODES = [...REFUSAL_CODES, ...INTERNAL_CODES] as const

export const TOTALS = {
  gate_accepted: {
    doc: 'TCP connections that were handed on, by what their host is for; `pass` went to another server.',
    labels: ['main', 'ping', 'speedtest', 'reverse_proxy', 'decoy', 'pass'],
  },
  gate_dropped: {
    doc: 'Connections, TCP and QUIC, that were closed without an answer, by reason; the first five are limits.',
    labels: [
      'handshakes_total',
      'handshakes_per_address',
      'connections_total',
      'connections_per_address',
      'connection_rate',
      'hello_timeout',
      'ended_early',
      'denied',
      'unknown_name',
      'proxy_header',
      'pass_failed',
      'no_descriptor',
      'accept_failed',
      'closing',
    ],
  },
  gate_strangers: {
    doc: 'Connections that are not for a host of ours and got what strangers get, by reason.',
    labels: ['denied', 'unknown_name', 'not_tls'],
  },
  gate_denied: {
    doc: 'Connections that the inbound rules denied, by the place of the rule in its list or why none was asked.',
    labels: ['default', 'no_random', 'no_server_name', 'no_address'],
    numbered: true,
  },
  tls_handshakes_failed: {
    doc: 'TLS handshakes over TCP that failed, by reason.',
    labels: ['no_protocol', 'timeout', 'ended', 'error'],
  },
  plain_http_requests: {
    doc: 'What came on the port without TLS, by kind.',
    labels: ['sound', 'bad', 'broken_tls'],
  },
  lanes_silent: { doc: 'Lanes that were ended because their event loops had stood still.' },
  sessions_total: { doc: 'Sessions that were accepted, by protocol.', labels: PROTOCOLS },
  sessions_revoked: { doc: 'Sessions that were ended because their user was removed or changed.' },
  session_errors: { doc: 'Sessions that a protocol error or a lost connection ended.', labels: PROTOCOLS },
  http2_stuck_uploads: {
    doc: 'Streams over HTTP/2 that were reset because too much of their session waited for slow targets.',
  },
  http2_stuck_downloads: {
    doc: 'Streams over HTTP/2 that were reset because their client let nothing through, by reason.',
    labels: ['too_much', 'stalled'],
  },
  http2_limits_met: {
    doc: 'Sessions over HTTP/2 that were ended because their client met a limit, by which.',
    labels: [
      'streams',
      'client_resets',
      'own_resets',
      'settings',
      'pings',
      'priority',
      'unknown_frames',
      'empty_data',
      'tiny_data',
      'window_updates',
      'useless_bytes',
      'refused_streams',
      'head_bytes',
      'continuations',
      'unread_answers',
      'stalled_output',
      'settings_timeout',
    ],
  },
  http1_malformed_requests: {
    doc: 'Requests over HTTP/1.1 whose head was refused, by what was wrong with it.',
    labels: [
      'request_line',
      'version',
      'line_too_long',
      'field',
      'fields_too_large',
      'repeated_field',
      'host',
      'content_length',
      'transfer_encoding',
      'method',
    ],
  },
  http1_send_timeouts: {
    doc: 'Connections over HTTP/1.1 that were closed because their client took nothing of an answer.',
  },
  http1_head_timeouts: { doc: 'Connections that were closed because no request head was complete in time.' },
  http3_denied: { doc: 'QUIC connections that an inbound rule or a limit refused.' },
  http3_faults: { doc: 'Faults while an event of the QUIC library was handled; each is in the log.' },
  http3_head_floods: { doc: 'Sessions that were ended for sending too many heads without credentials.' },
  http3_handshake_timeouts: { doc: 'QUIC handshakes that were not complete in time.' },
  http3_malformed_requests: { doc: 'Requests over HTTP/3 whose head could not be read.' },
  http3_stuck_streams: {
    doc: 'Streams over HTTP/3 that were reset because their client took nothing while others waited for room.',
  },
  http3_upload_pauses: { doc: 'Times that reading from QUIC was paused for a slow target.' },
  spill_bytes: { doc: 'Bytes of uploads that went to disk.' },
  spill_overflows: {
    doc: 'Uploads that were reset because nothing more could be kept, by reason.',
    labels: ['budget', 'disk_slow', 'disk_failed', 'stranger'],
  },
  requests: {
    doc: 'Requests by what they are: CONNECT to an address or name, UDP, ICMP, checks, `http:` requests, web pages.',
    labels: ['address', 'name', 'udp', 'icmp', 'check', 'forward', 'site'],
  },
  refused_requests: {
    doc: 'Requests that were refused, by code.',
    labels: ['auth_required', ...REFUSAL_CODES],
  },
  auth_delayed: { doc: 'Answers to failed authentications that waited.' },
  auth_not_delayed: {
    doc: 'Answers that should have waited and did not, because as many were waiting as may.',
    labels: ['session', 'total'],
  },
  user_limits_met: { doc: 'Requests that met a limit of their user.', labels: ['sessions', 'tunnels'] },
  tunnels_ended: { doc: 'Tunnels that ended, by reason.', labels: TUNNEL_ENDS },
  forwards_ended: { doc: 'Forwarded `http:` requests that ended, by reason.', labels: TUNNEL_ENDS },
  inbound_traffic_bytes: {
    doc: 'Bytes of content from clients, counted when a tunnel ends.',
    labels: PROTOCOLS,
  },
  outbound_traffic_bytes: {
    doc: 'Bytes of content to clients, counted when a tunnel ends.',
    labels: PROTOCOLS,
  },
  outbound_descriptors_exhausted: { doc: 'Targets that were not reached because descriptors had run out.' },
  udp_flows: { doc: 'UDP flows that were opened.' },
  udp_flows_ended: {
    doc: 'UDP flows that ended, by reason.',
    labels: ['idle', 'evicted', 'answered', 'error', 'stream_ended'],
  },
  udp_datagrams: { doc: 'Datagrams that were passed on.', labels: DIRECTIONS },
  udp_bytes: { doc: 'Payload of the datagrams that were passed on.', labels: DIRECTIONS },
  udp_drops: {
    doc: 'Datagrams that were dropped, by reason.',
    labels: [
      ...ERROR_CODES,
      'app_name_overrun',
      'payload_too_long',
      'early_queue',
      'send_queue',
      'queue_bytes',
      'queue_datagrams',
      'queue_total',
      'flow_limit',
    ],
  },
  icmp_requests: { doc: 'Echo requests that were sent.' },
  icmp_errors: { doc: 'Errors of the raw sockets.', labels: ['ipv4', 'ipv6'] },
  icmp_drops: {
    doc: 'Echo requests and replies that were dropped, by reason, which may be what the system said.',
    labels: [
      ...ERROR_CODES,
      'no_socket',
      'ttl',
      'limit',
      'user_limit',
      'ambiguous',
      'held',
      'unanswered',
      'queue',
    ],
    prefix: 'E',
  },
  web_requests: {
    doc: 'Requests that the web side answered, by which part of it; `refused` looks like a web server that refuses.',
    labels: ['decoy', 'ping', 'speedtest', 'reverse_proxy', 'refused'],
  },
  speedtest_refusals: {
    doc: 'Speed tests that were refused because too many ran, in all or of one address.',
    labels: ['total', 'address'],
  },
  decoy_waits: {
    doc: 'Answers of the decoy site that found no room in memory, by what they did; `refused` ones were reset.',
    labels: ['waited', 'refused'],
  },
  decoy_failures: { doc: 'Pages of the decoy site that could not be served.' },
  proxy_failures: {
    doc: 'Requests to a web server behind the endpoint that failed, by reason.',
    labels: [
      'too_many',
      'too_many_of_address',
      'bad_request',
      'connect',
      'no_descriptor',
      'timeout',
      'origin',
      'response_cut',
      'upgrade',
      'internal',
    ],
  },
} as const satisfies Readonly<Record<string, Description>>

export const GAUGES = {
  gate_connections: { doc: 'Connections that are open, TCP and QUIC together.' },
  gate_tcp_connections: { doc: 'TCP connections that are open; each has a descriptor.' },
  gate_handshakes: { doc: 'Handshakes that are under way.' },
  client_sessions: { doc: 'Sessions that are open, by protocol.', labels: PROTOCOLS },
  open_streams: { doc: 'Streams that are open, over all sessions.' },
  auth_waiting: { doc: 'Answers to failed authentications that wait.' },
  outbound_tcp_sockets: { doc: 'TCP connections to targets.' },
  outbound_udp_sockets: { doc: 'UDP sockets towards targets.' },
  origin_sockets: { doc: 'TCP connections to web servers behind the endpoint.' },
  decoy_held_bytes: { doc: 'Bytes of answers of the decoy site that their clients have not taken.' },
  decoy_open_files: { doc: 'Files of the decoy site that are open; each is a descriptor.' },
  decoy_waiting: { doc: 'Answers of the decoy site that wait for room in memory.' },
  http2_held_bytes: {
    doc: 'Bytes in memory that targets, or clients over HTTP/2, have not taken.',
    labels: DIRECTIONS,
  },
  icmp_pending: { doc: 'Echo requests that wait for an answer.' },
} as const satisfies Readonly<Record<string, Description>>

type TotalName = keyof typeof TOTALS
type GaugeName = keyof typeof GAUGES

type LabelsIn<D> =
  | (D extends { readonly labels: readonly (infer L)[] } ? L : never)
  | (D extends { readonly numbered: true } ? `${number}` : never)
  | (D extends { readonly prefix: infer P extends string } ? `${P}${string}` : never)
/** The labels of a total; `never` where there are none. */
export type TotalLabel<N extends TotalName> = LabelsIn<(typeof TOTALS)[N]>
type GaugeLabel<N extends GaugeName> = LabelsIn<(typeof GAUGES)[N]>

type CountArguments<N extends TotalName> = [TotalLabel<N>] extends [never]
  ? [label?: undefined, n?: number]
  : [label: TotalLabel<N>, n?: number]
type Read = () => number
type GaugeArguments<N extends GaugeName> = [GaugeLabel<N>] extends [never]
  ? [read: Read]
  : [label: GaugeLabel<N>, read: Read]

export class Counters {
  readonly #totals = new Map<string, number>()
  /** By name, then label, so that no key is built for each count. */
  readonly #labelled = new Map<string, Map<string, number>>()
  readonly #gauges = new Map<string, Read>()

  /** Adds `n`, or 1, to `name`, or to `name{label}`. */
  count<N extends TotalName>(name: N, ...rest: CountArguments<N>): void
  count(name: string, label?: string, n = 1): void {
    if (label === undefined) return add(this.#totals, name, n)
    let totals = this.#labelled.get(name)
    if (totals === undefined) this.#labelled.set(name, (totals = new Map()))
    add(totals, label, n)
  }

  /**
   * Registers a value that is read when a snapshot is taken. A second gauge with the same name and label is a wiring
   * error.
   */
  gauge<N extends GaugeName>(name: N, ...rest: GaugeArguments<N>): void
  gauge(name: string, first: string | Read, second?: Read): void {
    const [key, read] = typeof first === 'string' ? [`${name}{${first}}`, second ?? zero] : [name, first]
    if (this.#gauges.has(key)) throw new Error(`gauge ${key} is registered twice`)
    this.#gauges.set(key, read)
  }

  /** The current value of a gauge without labels; 0 while there is no gauge of this name. */
  read(name: GaugeName): number {
    return this.#gauges.get(name)?.() ?? 0
  }

  /** Totals and gauges by name, as a plain object that can be sent to another thread. */
  snapshot(): Record<string, number> {
    const result: Record<string, number> = Object.fromEntries(this.#totals)
    for (const [name, totals] of this.#labelled)
      for (const [label, value] of totals) result[`${name}{${label}}`] = value
    for (const [name, read] of this.#gauges) result[name] = read()
    return result
  }
}

function add(totals: Map<string, number>, key: string, n: number): void {
  totals.set(key, (totals.get(key) ?? 0) + n)
}

function zero(): number {
  return 0
}
