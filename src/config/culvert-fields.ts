/**
 * `[culvert.*]` of `vpn.toml`: settings that the official file has no key for. The reference endpoint ignores these
 * tables.
 */
import {
  addressPort,
  cidr,
  filePath,
  hostname,
  httpOrigin,
  parseDnsServer,
  parsed,
  passTarget,
} from './values.ts'
import { bytes, choice, int, list, seconds, table, tables, text } from './schema.ts'

const MiB = 1_048_576

const log = table(
  {
    privacy: choice(['full', 'no-targets', 'anonymous'], {
      default: 'no-targets',
      doc: 'What log lines may say: client and target addresses, client addresses only, or neither.',
    }),
    format: choice(['auto', 'json', 'pretty'], {
      default: 'auto',
      doc: 'JSON lines, or text for people; "auto" writes text to a terminal only.',
    }),
  },
  { doc: 'The log.' },
)

const dns = table(
  {
    servers: list(
      parsed('address[:port]', 'an address, with or without a port', parseDnsServer, { doc: 'A resolver.' }),
      {
        default: [],
        example: ['192.0.2.53', '[2001:db8::53]:53'],
        doc: 'Resolvers for the names of targets; those of the system when empty.',
      },
    ),
  },
  { doc: 'How names of targets are resolved.' },
)

const egress = table(
  {
    allow: list(addressPort({ doc: 'A target.' }), {
      default: [],
      example: ['127.0.0.1:8080'],
      doc: "Targets that clients may reach although their addresses are private, loopback or this machine's own. Port 0 opens an address for ping.",
    }),
  },
  { doc: 'Where clients may go.' },
)

const udp = table(
  {
    max_flows_per_stream: int({
      default: 1_024,
      min: 1,
      max: 65_536,
      doc: 'UDP flows of one `_udp2` stream; above that, a new flow ends the one idle longest.',
    }),
    queue_bytes: bytes({
      default: MiB,
      min: 65_536,
      doc: 'Datagrams that may wait for a slow client; further ones are dropped.',
    }),
  },
  { doc: 'UDP tunnels.' },
)

const edge = table(
  {
    unknown_sni: choice(['decoy', 'drop', 'pass'], {
      default: 'decoy',
      doc: 'What happens when the server name is unknown or missing: decoy site, end of the connection, or another server.',
    }),
    proxy_protocol_from: list(cidr({ doc: 'A balancer.' }), {
      default: [],
      example: ['10.0.0.0/8'],
      doc: 'Load balancers that put a PROXY protocol header in front of each connection; it is accepted from nobody else.',
    }),
    handshakes_per_address: int({
      default: 128,
      min: 1,
      doc: 'TLS handshakes that one address may have in progress.',
    }),
    handshakes_total: int({ default: 1_024, min: 1, doc: 'TLS handshakes in progress, in all.' }),
    connections_per_address: int({ default: 512, min: 1, doc: 'TCP connections of one address.' }),
    connections_total: int({ default: 16_384, min: 1, doc: 'TCP connections, in all.' }),
    connection_burst: int({
      default: 100,
      min: 1,
      doc: 'New connections that one address may open at once: ten users with eight each behind one address fit.',
    }),
    connection_rate: int({
      default: 20,
      min: 1,
      doc: 'New connections per second that one address may open for long.',
    }),
    pass: tables(
      {
        names: list(hostname({ wildcard: true, doc: 'A server name.' }), {
          example: ['www.example.org', '*.example.net'],
          doc: 'Server names, exact or `*.` for one level; with `unknown_sni = "pass"` an entry with `names = []` takes all others.',
        }),
        to: passTarget({ example: '127.0.0.1:8443', doc: 'The server: "host:port" or "unix:/path".' }),
      },
      {
        doc: 'Connections for these names go to another server with TLS untouched. May be repeated.',
        reloadable: true,
      },
    ),
  },
  { doc: 'The port itself: names that are not ours, balancers in front, limits.' },
)

const decoy = table(
  {
    root: filePath({
      default: null,
      example: '/var/www/html',
      doc: 'A directory that is shown to anyone who is not a client. Relative to the working directory.',
    }),
    origin: httpOrigin({
      default: null,
      example: 'http://127.0.0.1:8080',
      doc: 'A web server that is shown instead of `root`.',
    }),
    index: text({ default: 'index.html', doc: 'The file that is served for a directory.' }),
  },
  { doc: 'The web site that strangers see; a plain default page when neither `root` nor `origin` is set.' },
)

const http3 = table(
  {
    upload_memory: bytes({
      default: 32 * MiB,
      min: MiB,
      doc: 'How much all HTTP/3 uploads together may keep in memory for slow targets; each gets a fair share.',
    }),
    upload_spill_per_user: bytes({
      default: 1_024 * MiB,
      doc: 'How much the HTTP/3 uploads of one user may keep on disk beyond that; then the stream is reset.',
    }),
    spill_directory: filePath({
      default: null,
      example: '/var/tmp',
      doc: 'Where that is kept, in files without names; `/var/tmp` when absent, and without one the temporary directory.',
    }),
  },
  { doc: 'HTTP/3.' },
)

const auth = table(
  {
    realm: text({
      default: 'Authorization Required',
      doc: 'The realm in the answer to a request without valid credentials.',
    }),
  },
  { doc: 'Authentication.' },
)

const users = table(
  {
    max_tunnels: int({
      default: 4_096,
      min: 1,
      doc: 'Tunnels and forwarded requests that one user may have open over all sessions; more are answered 429.',
    }),
  },
  { doc: 'Limits of each user.' },
)

export const culvertFields = table(
  {
    shutdown_grace_secs: seconds({
      default: 10,
      min: 0,
      doc: 'How long open streams may continue after SIGTERM.',
    }),
    log,
    dns,
    egress,
    udp,
    edge,
    decoy,
    http3,
    auth,
    users,
  },
  { doc: 'Settings that only this endpoint has.' },
)
