/** `vpn.toml`: every key of the official file and `[culvert.*]`, which is ours. */
import { culvertFields } from './culvert-fields.ts'
import { addressPort, filePath, hostname, randomPrefix, urlPath } from './values.ts'
import { bool, bytes, choice, int, list, optionalTable, seconds, table, text, value } from './schema.ts'

/** Statuses that answer a request without valid credentials (`docs/protocol.md`, "Answers to a CONNECT"). */
export const AUTH_FAILURE_STATUSES = [407, 405, 404, 403] as const

const http1 = optionalTable(
  {
    upload_buffer_size: bytes({
      default: 32_768,
      min: 1,
      doc: 'Size of the buffer that reads what a client sends.',
      status: 'ignored',
    }),
  },
  { doc: 'HTTP/1.1 over TLS. An empty table enables it.' },
)

const WINDOW_MAX = 2_147_483_647

const http2 = optionalTable(
  {
    initial_connection_window_size: bytes({
      default: null,
      example: 8_388_608,
      min: 65_535,
      max: WINDOW_MAX,
      doc: 'Receive window of a whole session. Unless set: 2147483647, as nginx announces it.',
    }),
    initial_stream_window_size: bytes({
      default: null,
      example: 131_072,
      min: 1,
      max: WINDOW_MAX,
      doc: 'Receive window of each stream at first. Unless set: 65536 as nginx announces it, 131072 for users.',
    }),
    max_concurrent_streams: int({
      default: null,
      example: 1_000,
      min: 1,
      doc: 'Streams that one session may have open. Unless set: 128 as nginx announces it, 1000 for users.',
    }),
    max_frame_size: bytes({
      default: null,
      example: 16_384,
      min: 16_384,
      max: 16_777_215,
      doc: 'Largest frame that a client may send. Unless set: 16777215, as nginx announces it.',
    }),
    header_table_size: bytes({
      default: null,
      example: 65_536,
      max: 4_294_967_295,
      doc:
        'Largest list of headers that a client may send (SETTINGS_MAX_HEADER_LIST_SIZE, whatever its name says). ' +
        'Unless set, it is not announced. At least 32768 and at most 262144 are taken in any case.',
    }),
  },
  { doc: 'HTTP/2 over TLS. An empty table enables it.' },
)

const streamData = { default: 1_048_576, max: 4_611_686_018_427_387 } as const
const streamCount = { default: 4_096, max: 1_000_000 } as const

const quic = optionalTable(
  {
    recv_udp_payload_size: bytes({
      default: 1_350,
      min: 1_200,
      max: 65_527,
      doc: 'Largest UDP payload that is received.',
      status: 'ignored',
    }),
    send_udp_payload_size: bytes({
      default: 1_350,
      min: 1_200,
      max: 65_527,
      doc: 'Largest UDP payload that is sent; the library finds what each path takes, up to 1472.',
      status: 'ignored',
    }),
    initial_max_data: bytes({ default: 104_857_600, doc: 'Receive window of a whole session.' }),
    initial_max_stream_data_bidi_local: bytes({
      ...streamData,
      aliases: ['max_stream_data_bidi_local'],
      doc: 'Receive window of a stream that the endpoint opens.',
      status: 'ignored',
    }),
    initial_max_stream_data_bidi_remote: bytes({
      ...streamData,
      aliases: ['max_stream_data_bidi_remote'],
      doc: 'Receive window of a stream that the client opens.',
      status: 'ignored',
    }),
    initial_max_stream_data_uni: bytes({
      ...streamData,
      aliases: ['max_stream_data_uni'],
      doc: 'Receive window of a unidirectional stream.',
      status: 'ignored',
    }),
    initial_max_streams_bidi: int({
      ...streamCount,
      aliases: ['max_streams_bidi'],
      doc: 'Streams that one session may have open.',
    }),
    initial_max_streams_uni: int({
      ...streamCount,
      aliases: ['max_streams_uni'],
      doc: 'Unidirectional streams that one session may have open.',
      status: 'ignored',
    }),
    max_connection_window: bytes({
      default: 25_165_824,
      doc: 'How far the window of a session may grow.',
      status: 'ignored',
    }),
    max_stream_window: bytes({
      default: 16_777_216,
      doc: 'How far the window of a stream may grow.',
      status: 'ignored',
    }),
    disable_active_migration: bool({ default: true, doc: 'Forbid clients from moving to another address.' }),
    enable_early_data: bool({ default: true, doc: 'Accept requests in 0-RTT.', status: 'ignored' }),
    message_queue_capacity: int({
      default: 4_096,
      min: 1,
      doc: 'Messages that may wait between the socket and a session.',
      status: 'ignored',
    }),
    cc_algorithm: choice(['reno', 'cubic', 'bbr', 'bbr2'], {
      default: 'cubic',
      doc: 'Congestion control.',
      status: 'ignored',
    }),
    discover_pmtu: bool({
      default: false,
      doc: 'Look for a larger datagram size on each path.',
      status: 'ignored',
    }),
  },
  { doc: 'HTTP/3 over QUIC, on the same port over UDP. An empty table enables it.' },
)

const forwardProtocol = table(
  {
    direct: optionalTable({}, { doc: 'Connect to targets from this machine. This is the default.' }),
    socks5: optionalTable(
      {
        address: addressPort({ example: '127.0.0.1:1080', doc: 'Address of the SOCKS5 server.' }),
        extended_auth: bool({
          default: false,
          doc: 'Send the extended authentication message (method 0x80).',
        }),
      },
      { doc: 'Connect to targets through a SOCKS5 server.', status: 'later' },
    ),
  },
  { doc: 'How targets are reached: one of the two tables.' },
)

const reverseProxy = optionalTable(
  {
    server_address: addressPort({
      example: '127.0.0.1:8080',
      doc: 'The server that requests are passed to.',
    }),
    path_mask: text({
      example: '/app',
      doc: 'Requests on main hosts whose path starts with it are passed on; it starts with "/".',
    }),
    h3_backward_compatibility: bool({
      default: false,
      doc: 'Pass a `GET /` of HTTP/3 on with the method CONNECT.',
    }),
  },
  { doc: 'A web server behind the endpoint, for `reverse_proxy_hosts` and for a path of the main hosts.' },
)

const icmp = optionalTable(
  {
    interface_name: text({
      default: null,
      example: 'eth0',
      doc: 'Interface that echo requests leave by; without it the routes decide (the reference endpoint takes eth0).',
    }),
    request_timeout_secs: seconds({ default: 3, doc: 'How long to wait for an answer.' }),
    recv_message_queue_capacity: int({
      default: 256,
      min: 1,
      doc: 'Answers that may wait for one client; further ones are dropped.',
    }),
  },
  { doc: 'Lets clients ping through the endpoint. Needs CAP_NET_RAW.' },
)

const metrics = optionalTable(
  {
    address: addressPort({
      default: '127.0.0.1:1987',
      doc: 'Where `/metrics` and `/health-check` are served.',
    }),
    request_timeout_secs: seconds({ default: 3, doc: 'Limit for one request.' }),
    per_client_metrics: bool({ default: false, doc: 'Also per user, and the page `/clients`.' }),
  },
  { doc: 'Figures for Prometheus.', status: 'later' },
)

const subscription = optionalTable(
  {
    enabled: bool({ default: true, doc: 'Answer requests.' }),
    hostname: hostname({
      default: null,
      example: 'vpn.endpoint',
      doc: 'The server name under which clients ask for it.',
    }),
    path: urlPath({ default: '/subscription', doc: 'The exact path.' }),
    address: text({ default: null, example: '192.0.2.1:443', doc: 'The address given to clients.' }),
    name: text({ default: null, example: 'Home', doc: 'The name that clients show.' }),
    dns_upstreams: list(text({ doc: 'An upstream.' }), {
      default: [],
      doc: 'Resolvers given to clients.',
    }),
    custom_sni: hostname({
      default: null,
      example: 'vpn.endpoint',
      doc: 'The server name that clients send.',
    }),
    client_random_prefix: randomPrefix({
      default: null,
      example: 'aabb',
      doc: 'The start of the TLS random that clients send.',
    }),
  },
  { doc: 'Clients fetch their configuration themselves.', status: 'later' },
)

/** `cross-checks.ts` decides between the official meaning of a status and the list above. */
const status = (raw: unknown) => (typeof raw === 'bigint' ? Number(raw) : undefined)
const statuses = AUTH_FAILURE_STATUSES.join(', ')

export const vpnFields = {
  listen_address: addressPort({
    default: '0.0.0.0:443',
    doc: 'TCP and UDP address to listen on. `[::]:443` takes IPv4 too.',
  }),
  ipv6_available: bool({ default: true, doc: 'Whether targets may be reached over IPv6.' }),
  allow_private_network_connections: bool({
    default: false,
    doc: 'Whether clients may reach private networks behind the endpoint.',
  }),
  tls_handshake_timeout_secs: seconds({ default: 10, doc: 'Limit for a TLS handshake.' }),
  client_listener_timeout_secs: seconds({
    default: 600,
    doc: 'A session without a request and without an open stream ends after this time.',
  }),
  connection_establishment_timeout_secs: seconds({
    default: 30,
    doc: 'Limit for reaching a target, name resolution included.',
  }),
  tcp_connections_timeout_secs: seconds({
    default: 7_200,
    doc: 'A TCP tunnel without data in either direction ends after this time.',
  }),
  udp_connections_timeout_secs: seconds({
    default: 120,
    doc: 'A UDP flow without a datagram in either direction ends after this time.',
  }),
  credentials_file: filePath({
    default: null,
    example: 'credentials.toml',
    doc: 'Users and passwords. Relative to the working directory; if it is not there, next to this file.',
    reloadable: true,
  }),
  rules_file: filePath({
    default: null,
    example: 'rules.toml',
    doc: 'Who may connect, and where to. Found like `credentials_file`; without it everything is allowed.',
    reloadable: true,
  }),
  speedtest_enable: bool({ default: false, doc: 'Serve the speed test on main hosts.' }),
  speedtest_path: urlPath({ default: '/speedtest', doc: 'Where on main hosts the speed test is.' }),
  ping_enable: bool({ default: false, doc: 'Answer ping requests on main hosts.' }),
  ping_path: urlPath({ default: '/ping', doc: 'Where on main hosts ping requests are answered.' }),
  auth_failure_status_code: value('status', statuses, status, {
    default: 407,
    doc: 'Answer to a CONNECT without valid credentials. Official clients recognise 407 only.',
  }),
  non_connect_auth_failure_status_code: value('status', statuses, status, {
    default: null,
    example: 404,
    doc: 'Answer to other requests on main hosts instead of the decoy site; the site answers when absent.',
  }),
  max_auth_failures: int({
    default: 5,
    doc: 'Failed authentications allowed to one address before it must wait; 0 turns the limit off.',
  }),
  auth_failure_refill_secs: seconds({
    default: 10,
    doc: 'An address gains one more attempt after this time.',
  }),
  allow_multiple_credentials_per_connection: bool({
    default: false,
    doc: 'Whether one session may carry requests of several users; otherwise the first user is the only one, and the credentials of others are refused like wrong ones.',
  }),
  default_max_http2_conns_per_client: int({
    default: null,
    example: 32,
    min: 1,
    doc: 'Sessions over HTTP/1.1 and HTTP/2 of each user; official clients open up to 8 per device.',
    reloadable: true,
  }),
  default_max_http3_conns_per_client: int({
    default: null,
    example: 16,
    min: 1,
    doc: 'Sessions over HTTP/3 of each user.',
    reloadable: true,
  }),
  listen_protocols: table(
    { http1, http2, quic },
    { doc: 'Protocols to speak: at least one of the three tables.' },
  ),
  forward_protocol: forwardProtocol,
  reverse_proxy: reverseProxy,
  icmp,
  metrics,
  subscription,
  culvert: culvertFields,
} as const
