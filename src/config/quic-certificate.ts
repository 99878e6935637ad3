/**
 * What the QUIC certificate means for the hosts: the library shows a single certificate, the first main host's, under
 * every name. A client that verifies certificates reaches the other hosts over TCP only, unless that certificate names
 * them too.
 */
import { X509Certificate } from 'node:crypto'
import { exampleOf } from '../wire/host-name.ts'
import { HOST_LISTS } from './hosts-fields.ts'
import type { HostList } from './hosts-fields.ts'
import type { Findings } from './read.ts'
import type { HostsSettings, VpnSettings } from './settings.ts'

/** Whether a client that verifies the certificate over QUIC accepts it for `hostname`, which may be a wildcard. */
export function isCoveredOverQuic(hosts: HostsSettings, hostname: string): boolean {
  return quicCertificate(hosts)?.checkHost(exampleOf(hostname)) !== undefined
}

export function warnOfQuicCertificate(
  vpn: VpnSettings,
  hosts: HostsSettings,
  file: string,
  findings: Findings,
): void {
  const [first] = hosts.main_hosts
  const certificate = quicCertificate(hosts)
  if (vpn.listen_protocols.quic === null || first === undefined || certificate === undefined) return
  if (certificate.publicKey.asymmetricKeyType === 'ed25519')
    findings.warn(
      file,
      `${findings.placeOf(first)}.cert_chain_path`,
      'its key is Ed25519, which clients that imitate Chrome refuse over QUIC: use ECDSA P-256 or RSA',
    )
  for (const list of HOST_LISTS) {
    for (const host of hosts[list]) {
      // That its own certificate is not for the first host is reported where it is loaded.
      if (host === first || isCoveredOverQuic(hosts, host.hostname)) continue
      findings.warn(
        file,
        `${findings.placeOf(host)}.hostname`,
        `the certificate of ${first.hostname}, which HTTP/3 shows under every name, is not for ${host.hostname}: ` +
          `${reachWithoutQuic(vpn, list)}; one certificate with all names serves both`,
      )
    }
  }
}

/** How clients that verify certificates still reach a host of this list. */
function reachWithoutQuic({ listen_protocols: { http1, http2 } }: VpnSettings, list: HostList): string {
  if (list === 'reverse_proxy_hosts') return 'clients reach it over HTTP/1.1 only'
  if (list !== 'main_hosts' || http2 !== null) return 'clients reach it over HTTP/2 only'
  return http1 === null
    ? 'clients cannot reach it, because HTTP/2 is off'
    : 'clients reach it over HTTP/1.1 only, because HTTP/2 is off'
}

/** Undefined when it cannot be read; that is reported where it is loaded. */
function quicCertificate({ main_hosts }: HostsSettings): X509Certificate | undefined {
  try {
    return new X509Certificate(main_hosts[0]?.cert_chain ?? '')
  } catch {
    return undefined
  }
}
