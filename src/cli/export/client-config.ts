/** What a user enters into a client: the TOML file or the deep link (`docs/protocol.md`, "What a client is given"). */
import { EndpointError } from '../../errors.ts'
import { encodeDeepLink } from '../../wire/deep-link.ts'
import { isTrusted, parseChain, type TrustOptions } from './certificate-trust.ts'
import { formatToml } from '../../config/official-files.ts'
import { isCoveredOverQuic } from '../../config/quic-certificate.ts'
import { matchPrefix, matchPskKey } from './random-rule.ts'
import type { ClientSettings, HostSettings, Settings } from '../../config/settings.ts'
import { parsePassTarget } from '../../config/values.ts'
import {
  matchesPattern,
  normalizeServerName,
  parentOf,
  parseHostName,
  serverNameIn,
} from '../../wire/host-name.ts'
import { formatSocketAddress } from '../../wire/authority.ts'
import { parseIpAddress } from '../../wire/ip-address.ts'
import { parseHex, parseRandomPrefix } from '../../wire/random-prefix.ts'

export interface ClientConfigOptions {
  readonly username: string
  /** Addresses or host names, with or without a port; at least one. */
  readonly addresses: readonly string[]
  readonly customSni?: string | undefined
  /** `hex` or `hex/hexmask`. */
  readonly clientRandomPrefix?: string | undefined
  readonly clientRandomPskKey?: string | undefined
  readonly name?: string | undefined
  readonly dnsUpstreams?: readonly string[] | undefined
  readonly trust?: TrustOptions
}

export interface ClientConfig {
  readonly hostname: string
  readonly addresses: readonly string[]
  readonly customSni: string | undefined
  readonly hasIpv6: boolean
  readonly username: string
  readonly password: string
  readonly clientRandomPrefix: string | undefined
  readonly clientRandomPskKey: string | undefined
  /** PEM; empty when clients can verify the certificate on their own. */
  readonly certificate: string
  readonly upstreamProtocol: 'http2' | 'http3'
  readonly name: string | undefined
  readonly dnsUpstreams: readonly string[]
}

/** @throws EndpointError `config_invalid` for a user, address or name that is not in the settings. */
export function createClientConfig(
  settings: Settings,
  options: ClientConfigOptions,
): { readonly config: ClientConfig; readonly warnings: readonly string[] } {
  const warnings: string[] = []
  const client = findClient(settings, options.username)
  if (options.addresses.length === 0) throw invalid('at least one address is needed')
  const customSni = options.customSni
  const host = chooseHost(settings, customSni)
  const hostname = parentOf(host.hostname) === undefined ? host.hostname : customSni
  if (hostname === undefined)
    throw invalid(`the first main host is ${host.hostname}: choose a name under it with --custom-sni`)
  for (const address of options.addresses) warnOfAddress(settings, host, address, warnings)
  const upstreamProtocol = chooseProtocol(settings, hostname, warnings)
  // Over QUIC the first host's is shown under every name.
  const { cert_chain: shown } = (upstreamProtocol === 'http3' && settings.hosts.main_hosts[0]) || host
  const { listen_address: listen } = settings.vpn
  const config: ClientConfig = {
    hostname,
    addresses: options.addresses.map((address) => completeAddress(address, listen.port)),
    customSni,
    hasIpv6: settings.vpn.ipv6_available,
    username: client.username,
    password: client.password,
    clientRandomPrefix: checkPrefix(settings, options.clientRandomPrefix, warnings),
    clientRandomPskKey: checkPskKey(settings, options.clientRandomPskKey, warnings),
    certificate: isTrusted(shown, hostname, options.trust) ? '' : shown,
    upstreamProtocol,
    name: options.name,
    dnsUpstreams: options.dnsUpstreams ?? [],
  }
  return { config, warnings }
}

/** HTTP/2 wherever it is on: over QUIC there is a single certificate, which may be another host's. */
function chooseProtocol(
  { vpn, hosts }: Settings,
  hostname: string,
  warnings: string[],
): ClientConfig['upstreamProtocol'] {
  const { http2, quic } = vpn.listen_protocols
  if (http2 !== null) return 'http2'
  if (quic === null) {
    warnings.push('HTTP/2 and HTTP/3 are both off, and clients speak nothing else')
    return 'http2'
  }
  if (!isCoveredOverQuic(hosts, hostname))
    warnings.push(
      `HTTP/2 is off, and the certificate that HTTP/3 shows is not for ${hostname}: clients cannot connect`,
    )
  return 'http3'
}

function findClient(settings: Settings, username: string): ClientSettings {
  const client = settings.clients.find((each) => each.username === username)
  if (client === undefined) throw invalid(`there is no user ${JSON.stringify(username)}`)
  return client
}

/** The main host that answers to a server name; without one, the first. */
function chooseHost({ hosts: { main_hosts: all } }: Settings, sni: string | undefined): HostSettings {
  const [first] = all
  if (first === undefined) throw invalid('there is no main host')
  if (sni === undefined) return first
  if (parseHostName(sni) === undefined) throw invalid(`custom SNI ${JSON.stringify(sni)} is not a host name`)
  const host = hostOf(all, sni)
  if (host === undefined)
    throw invalid(`custom SNI ${sni} is neither the hostname nor in allowed_sni of a main host`)
  return host
}

/** An exact name comes before a pattern, as in the handshake. */
function hostOf(hosts: readonly HostSettings[], name: string): HostSettings | undefined {
  const exact = hosts.find((host) => namesOf(host).includes(normalizeServerName(name)))
  return exact ?? hosts.find((host) => namesOf(host).some((pattern) => matchesPattern(pattern, name)))
}

function namesOf({ hostname, allowed_sni }: HostSettings): string[] {
  return [hostname, ...allowed_sni]
}

/** A name as address is usually that of the host; another one may still lead to the machine. */
function warnOfAddress(settings: Settings, host: HostSettings, address: string, warnings: string[]): void {
  const name = serverNameIn(address)
  if (parseIpAddress(name) !== undefined || parseHostName(name) === undefined) return
  if (namesOf(host).some((pattern) => matchesPattern(pattern, name))) return
  const other = hostOf(settings.hosts.main_hosts, name)
  warnings.push(
    other === undefined
      ? `address ${name} is not the name of a main host; clients are told to expect ${host.hostname} there`
      : `address ${name} is a name of the main host ${other.hostname}, but this is the configuration for ` +
          `${host.hostname}; --custom-sni ${name} makes it for the other`,
  )
}

/** Adds brackets, and the port that the endpoint listens on when there is none. */
function completeAddress(address: string, listenPort: number): string {
  const bare = parseIpAddress(address.replace(/^\[(.*)\]$/, '$1'))
  if (bare !== undefined || parseHostName(address) !== undefined) {
    if (listenPort === 0)
      throw invalid(`address ${address} needs a port: the endpoint listens on any free one`)
    return bare === undefined
      ? `${address}:${listenPort}`
      : formatSocketAddress({ address: bare.address, port: listenPort })
  }
  const target = parsePassTarget(address)
  if (target !== undefined && 'port' in target)
    return formatSocketAddress({ address: target.host, port: target.port })
  throw invalid(`address ${JSON.stringify(address)} is not an address or a host name with an optional port`)
}

function checkPrefix(settings: Settings, prefix: string | undefined, warnings: string[]): string | undefined {
  if (prefix === undefined) return undefined
  const given = parseRandomPrefix(prefix)
  if (given === undefined)
    throw invalid(`client random prefix ${JSON.stringify(prefix)} is not hex or hex/hexmask`)
  const rule = matchPrefix(settings.rules, given)
  if (rule === undefined) {
    warnings.push(`no rule matches the client random prefix ${prefix}: it is left out`)
    return undefined
  }
  if (rule.action === 'deny') warnings.push(`the rule for the client random prefix ${prefix} denies`)
  return prefix
}

function checkPskKey(settings: Settings, key: string | undefined, warnings: string[]): string | undefined {
  if (key === undefined) return undefined
  // The key is a secret: the message must not repeat it.
  const given = parseHex(key)
  if (given === undefined) throw invalid('the client random PSK key is not hexadecimal')
  const rule = matchPskKey(settings.rules, given)
  if (rule === undefined) {
    warnings.push('no rule has the client random PSK key: it is left out')
    return undefined
  }
  if (rule.action === 'deny') warnings.push('the rule for the client random PSK key denies')
  return key
}

/**
 * The client's TOML file. The random prefix appears under two names: the client reads `client_random`, its
 * documentation says `client_random_prefix`.
 */
export function encodeClientToml(config: ClientConfig): string {
  const prefix = config.clientRandomPrefix
  const fields: readonly (readonly [string, string | boolean | readonly string[] | undefined])[] = [
    ['hostname', config.hostname],
    ['addresses', config.addresses],
    ['custom_sni', config.customSni ?? ''],
    ['has_ipv6', config.hasIpv6],
    ['username', config.username],
    ['password', config.password],
    ['client_random', prefix],
    ['client_random_prefix', prefix],
    ['client_random_psk_key', config.clientRandomPskKey],
    ['skip_verification', false],
    ['certificate', config.certificate],
    ['upstream_protocol', config.upstreamProtocol],
    ['anti_dpi', false],
    ['name', config.name],
    ['dns_upstreams', config.dnsUpstreams],
  ]
  const lines = fields.flatMap(([key, value]) => {
    if (value === undefined) return []
    return key === 'certificate'
      ? [`certificate = ${formatPem(config.certificate)}`]
      : [`${key} = ${formatToml(value)}`]
  })
  return `${lines.join('\n')}\n`
}

/** As a multi-line literal string: nothing in PEM can end one early. */
function formatPem(pem: string): string {
  return pem === '' ? '""' : `'''\n${pem.trimEnd()}\n'''`
}

/** `tt://?…` */
export function encodeClientLink(config: ClientConfig): string {
  const certificate = Buffer.concat(parseChain(config.certificate).map((each) => each.raw))
  return encodeDeepLink({
    hostname: config.hostname,
    username: config.username,
    password: config.password,
    addresses: config.addresses,
    hasIpv6: config.hasIpv6,
    upstreamProtocol: config.upstreamProtocol,
    dnsUpstreams: config.dnsUpstreams,
    antiDpi: false,
    ...(config.customSni === undefined ? {} : { customSni: config.customSni }),
    ...(config.clientRandomPrefix === undefined ? {} : { clientRandomPrefix: config.clientRandomPrefix }),
    ...(certificate.length === 0 ? {} : { certificate }),
    ...(config.name === undefined ? {} : { name: config.name }),
  })
}

function invalid(message: string): EndpointError {
  return new EndpointError('config_invalid', message)
}
