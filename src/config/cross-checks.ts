/**
 * Checks that span several keys or files (in the reference endpoint's wording, so that operators and scripts recognise
 * it).
 */
import { accessSync, constants, statSync } from 'node:fs'
import { isLoopback, isUnspecified } from '../wire/ip-kind.ts'
import type { SocketAddress } from '../wire/target.ts'
import { reasonOf } from './config-file.ts'
import { HOST_LISTS } from './hosts-fields.ts'
import { HOST_LIST_NAMES } from './load-hosts.ts'
import { warnOfQuicCertificate } from './quic-certificate.ts'
import type { Findings } from './read.ts'
import type { HostsSettings, RulesSettings, VpnSettings } from './settings.ts'
import { AUTH_FAILURE_STATUSES } from './vpn-fields.ts'

export interface VpnChecks {
  readonly vpn: VpnSettings
  readonly file: string
  readonly credentials: 'some' | 'none' | 'unreadable'
  readonly rules: RulesSettings | undefined
  readonly findings: Findings
}

export function checkVpn(checks: VpnChecks): void {
  const { vpn, file, rules, findings } = checks
  const problem = (path: string, message: string) => findings.problem(file, path, message)
  if (isUnset(vpn.listen_address)) problem('listen_address', 'Listen address is not set')
  checkCredentials(checks)
  checkProtocols(checks)
  checkRequestPaths(vpn, problem)
  checkStatuses(vpn, problem)
  checkReverseProxy(vpn, problem)
  if (vpn.forward_protocol.direct !== null && vpn.forward_protocol.socks5 !== null)
    problem('forward_protocol', 'Invalid forward protocol settings: direct and socks5 exclude each other')
  checkCulvert(vpn, problem)
  const needsRandom = rules?.inbound.rules.some(
    (rule) => rule.client_random_prefix !== null || rule.client_random_psk_key !== null,
  )
  if (needsRandom === true && vpn.listen_protocols.quic !== null)
    findings.warn(
      file,
      'rules_file',
      'a rule asks for the TLS client random, which cannot be seen over QUIC: every QUIC connection is denied',
    )
}

/**
 * Without users everybody may connect. Without a file that is allowed on loopback; a file that holds nobody is a mistake
 * anywhere, and behind a balancer even a loopback address is open to the world.
 */
function checkCredentials({ vpn, file, credentials, findings }: VpnChecks): void {
  if (credentials !== 'none') return
  if (vpn.credentials_file !== null)
    return findings.problem(
      vpn.credentials_file,
      'client',
      'No credentials configured: no [[client]] is in this file, and everybody could connect. ' +
        'At least one is needed, with username and password',
    )
  if (vpn.culvert.edge.proxy_protocol_from.length > 0)
    findings.problem(
      file,
      'credentials_file',
      'No credentials configured (credentials_file is missing) behind a balancer: with ' +
        'culvert.edge.proxy_protocol_from any address is a public one. Name a file with at least one [[client]]',
    )
  else if (isLoopback(vpn.listen_address.address))
    findings.warn(
      file,
      'credentials_file',
      'No credentials configured: everybody on this machine may connect',
    )
  else
    findings.problem(
      file,
      'credentials_file',
      'No credentials configured (credentials_file is missing) while listening on a public address. ' +
        'This is a security risk. ' +
        'Either configure credentials or use a loopback address (127.0.0.1 or ::1)',
    )
}

function checkProtocols({ vpn, file, findings }: VpnChecks): void {
  const { http1, http2, quic } = vpn.listen_protocols
  if (http1 === null && http2 === null && quic === null)
    findings.problem(
      file,
      'listen_protocols',
      'Invalid listen protocols settings: Not set; at least one of http1, http2 and quic is needed',
    )
}

type Problem = (path: string, message: string) => void

function checkRequestPaths(vpn: VpnSettings, problem: Problem): void {
  const paths = [
    { key: 'ping_path', enabled: vpn.ping_enable, path: vpn.ping_path },
    { key: 'speedtest_path', enabled: vpn.speedtest_enable, path: vpn.speedtest_path },
  ].filter((each) => each.enabled)
  for (const { key, path } of paths) {
    if (path === '') problem(key, `Invalid request path: ${key}: it is empty`)
    else if (!path.startsWith('/'))
      problem(key, `Invalid request path: ${key}: ${JSON.stringify(path)} does not start with "/"`)
  }
  const [ping, speedtest] = paths
  if (ping === undefined || speedtest === undefined) return
  if (ping.path.startsWith(speedtest.path) || speedtest.path.startsWith(ping.path))
    problem(
      'ping_path',
      `Invalid request path: ping_path ${JSON.stringify(ping.path)} and speedtest_path ${JSON.stringify(speedtest.path)} overlap`,
    )
}

function checkStatuses(vpn: VpnSettings, problem: Problem): void {
  for (const key of ['auth_failure_status_code', 'non_connect_auth_failure_status_code'] as const) {
    const status = vpn[key]
    if (status === null || (AUTH_FAILURE_STATUSES as readonly number[]).includes(status)) continue
    problem(key, `Invalid ${key}: ${status}. Supported values: ${AUTH_FAILURE_STATUSES.join(', ')}`)
  }
}

function checkReverseProxy(vpn: VpnSettings, problem: Problem): void {
  if (vpn.reverse_proxy === null) return
  const { server_address: address, path_mask: mask } = vpn.reverse_proxy
  if (isUnset(address))
    problem('reverse_proxy.server_address', 'Invalid reverse proxy settings: Server address is not set')
  if (!mask.startsWith('/'))
    problem(
      'reverse_proxy.path_mask',
      `Invalid reverse proxy settings: Invalid path mask: ${JSON.stringify(mask)} does not start with "/"`,
    )
}

function checkCulvert(vpn: VpnSettings, problem: Problem): void {
  const { decoy, edge, http3 } = vpn.culvert
  if (decoy.root !== null && decoy.origin !== null)
    problem('culvert.decoy', 'root and origin exclude each other')
  checkDirectory('culvert.decoy.root', decoy.root, problem)
  if (vpn.listen_protocols.quic !== null)
    checkDirectory('culvert.http3.spill_directory', http3.spill_directory, problem, constants.W_OK)
  const catchAll = edge.pass.filter((each) => each.names.length === 0).length
  if (edge.unknown_sni === 'pass' && catchAll !== 1)
    problem('culvert.edge.unknown_sni', '"pass" needs exactly one [[culvert.edge.pass]] with names = []')
  if (edge.unknown_sni !== 'pass' && catchAll > 0)
    problem('culvert.edge.pass', 'names = [] is for unknown_sni = "pass" only')
}

function checkDirectory(key: string, path: string | null, problem: Problem, access = constants.R_OK): void {
  if (path === null) return
  try {
    if (!statSync(path).isDirectory()) problem(key, `${path} is not a directory`)
    else accessSync(path, access | constants.X_OK)
  } catch (error) {
    problem(key, `${path}: ${reasonOf(error)}`)
  }
}

interface HostsChecks {
  readonly vpn: VpnSettings
  readonly hosts: HostsSettings
  readonly file: string
  /** The file that `vpn` was read from. */
  readonly vpnFile: string
  readonly findings: Findings
}

export function checkHosts({ vpn, hosts, file, vpnFile, findings }: HostsChecks): void {
  const wrong = findings.problems.some((each) => each.file === file && each.path.startsWith('main_hosts'))
  if (hosts.main_hosts.length === 0 && !wrong)
    findings.problem(file, 'main_hosts', 'Invalid main TLS hosts: Not set')
  const seen = new Set<string>()
  for (const list of HOST_LISTS) {
    for (const host of hosts[list]) {
      const { hostname } = host
      if (seen.has(hostname))
        findings.problem(
          file,
          `${findings.placeOf(host)}.hostname`,
          `Invalid ${HOST_LIST_NAMES[list]} TLS hosts: Hostname must be unique: ${hostname}`,
        )
      seen.add(hostname)
    }
  }
  warnOfQuicCertificate(vpn, hosts, file, findings)
  if (hosts.reverse_proxy_hosts.length > 0 && vpn.reverse_proxy === null)
    findings.warn(file, 'reverse_proxy_hosts', 'without [reverse_proxy] these hosts are not served')
  for (const [index, { names }] of vpn.culvert.edge.pass.entries())
    for (const name of names)
      if (seen.has(name))
        findings.warn(vpnFile, `culvert.edge.pass[${index}]`, `${name} is a host here and is never passed on`)
}

/** What the reference takes for "no address": unspecified and without a port. */
function isUnset({ address, port }: SocketAddress): boolean {
  return port === 0 && isUnspecified(address)
}
