/** Loads `hosts.toml`, and the certificates and keys it names. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ConfigError } from './config-error.ts'
import { exampleOf } from '../wire/host-name.ts'
import { readToml, reasonOf, resolveBeside } from './config-file.ts'
import { HOST_LISTS, hostsFields, type HostList } from './hosts-fields.ts'
import { Findings, readFields } from './read.ts'
import type { HostSettings, HostsSettings, Settings } from './settings.ts'

/** What the reference endpoint calls the lists in its error texts. */
export const HOST_LIST_NAMES: Readonly<Record<HostList, string>> = {
  main_hosts: 'main',
  ping_hosts: 'ping',
  speedtest_hosts: 'speedtest',
  reverse_proxy_hosts: 'reverse proxy',
}

/** Returns undefined when the problems noted leave nothing to check. */
export function loadHosts(file: string, shown: string, findings: Findings): HostsSettings | undefined {
  const raw = readToml(file, shown, 'Invalid hosts file', findings)
  if (raw === undefined) return undefined
  const fields = readFields(hostsFields, raw, shown, findings)
  if (fields === undefined) return undefined
  const lists = HOST_LISTS.map((list) => [
    list,
    fields[list].map((entry): HostSettings => {
      const path = findings.placeOf(entry)
      const prefix = `Invalid ${HOST_LIST_NAMES[list]} TLS hosts`
      const cert_chain_path = resolveBeside(entry.cert_chain_path, file)
      const private_key_path = resolveBeside(entry.private_key_path, file)
      const pair = loadKeyPair(cert_chain_path, private_key_path, (message) =>
        findings.problem(shown, path, `${prefix}: ${message}`),
      )
      if (pair !== undefined) warnOfCertificate(pair.certificate, entry.hostname, shown, path, findings)
      const host = {
        ...entry,
        cert_chain_path,
        private_key_path,
        cert_chain: pair?.chain ?? '',
        private_key: pair?.key ?? '',
      }
      findings.notePlace(host, path)
      return host
    }),
  ])
  return Object.fromEntries(lists) as HostsSettings
}

/**
 * The same settings with the certificates and keys that the hosts' files contain now. Nothing else is read, so
 * unfinished edits to the other files have no effect.
 *
 * @throws ConfigError with every problem of every certificate.
 */
export function renewCertificates(settings: Settings): Settings {
  const findings = new Findings()
  const lists = HOST_LISTS.map((list) => [
    list,
    settings.hosts[list].map((host): HostSettings => {
      const { cert_chain_path: file, private_key_path, hostname } = host
      const pair = loadKeyPair(file, private_key_path, (message) => findings.problem(file, '', message))
      if (pair === undefined) return host
      warnOfCertificate(pair.certificate, hostname, file, '', findings)
      return { ...host, cert_chain: pair.chain, private_key: pair.key }
    }),
  ])
  const { problems, warnings } = findings
  if (problems.length > 0) throw new ConfigError(problems, warnings)
  return { ...settings, hosts: Object.fromEntries(lists) as HostsSettings, warnings }
}

interface KeyPair {
  readonly chain: string
  readonly key: string
  readonly certificate: X509Certificate
}

/** Reads both files and checks that they match; every fault goes to `problem`. */
function loadKeyPair(
  chainPath: string,
  keyPath: string,
  problem: (message: string) => void,
): KeyPair | undefined {
  const chain = attempt(`Invalid cert chain: path='${chainPath}'`, 'certificate', problem, () => {
    const pem = readFileSync(chainPath, 'utf8')
    return { pem, certificate: new X509Certificate(pem) }
  })
  const key = attempt(`Invalid key: path='${keyPath}'`, 'private key', problem, () => {
    const pem = readFileSync(keyPath, 'utf8')
    return { pem, object: createPrivateKey(pem) }
  })
  if (chain === undefined || key === undefined) return undefined
  if (!chain.certificate.checkPrivateKey(key.object)) {
    problem(`Invalid key: path='${keyPath}', error='it does not belong to the certificate ${chainPath}'`)
    return undefined
  }
  return { chain: chain.pem, key: key.pem, certificate: chain.certificate }
}

/** `expected` says what the file must contain, since OpenSSL's own message says little. */
function attempt<T>(
  what: string,
  expected: string,
  problem: (message: string) => void,
  run: () => T,
): T | undefined {
  try {
    return run()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const hint = code.startsWith('ERR_OSSL') ? `no ${expected} in PEM form is in it: ` : ''
    problem(`${what}, error='${hint}${reasonOf(error)}'`)
    return undefined
  }
}

function warnOfCertificate(
  certificate: X509Certificate,
  hostname: string,
  shown: string,
  path: string,
  findings: Findings,
): void {
  const now = Date.now()
  if (certificate.validToDate.getTime() < now)
    findings.warn(shown, path, `the certificate expired on ${certificate.validToDate.toISOString()}`)
  if (certificate.validFromDate.getTime() > now)
    findings.warn(
      shown,
      path,
      `the certificate is not valid before ${certificate.validFromDate.toISOString()}`,
    )
  if (certificate.checkHost(exampleOf(hostname)) === undefined)
    findings.warn(
      shown,
      path,
      `the certificate does not name ${hostname}; clients that verify it will refuse`,
    )
}
