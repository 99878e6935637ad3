/** Loads `hosts.toml`, and the certificates and keys it names. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { SecureContextOptions } from 'node:tls'
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

/** In both forms of PEM, PKCS #8 and the older one. */
const ENCRYPTED = /^(?:-----BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED)/m

/** Returns undefined when the problems noted leave nothing to check. */
export function loadHosts(file: string, shown: string, findings: Findings): HostsSettings | undefined {
  const raw = readToml(file, shown, 'Invalid hosts file', findings)
  if (raw === undefined) return undefined
  const fields = readFields(hostsFields, raw, shown, findings)
  if (fields === undefined) return undefined
  const pairs = new KeyPairs(findings)
  const lists = HOST_LISTS.map((list) => [
    list,
    fields[list].map((entry): HostSettings => {
      const path = findings.placeOf(entry)
      const host = {
        ...entry,
        cert_chain_path: resolveBeside(entry.cert_chain_path, file),
        private_key_path: resolveBeside(entry.private_key_path, file),
        cert_chain: '',
        private_key: '',
        declared: { file: shown, path },
      }
      const loaded = { ...host, ...pairs.load(host, list) }
      findings.notePlace(loaded, path)
      return loaded
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
  const pairs = new KeyPairs(findings)
  const lists = HOST_LISTS.map((list) => [
    list,
    settings.hosts[list].map((host): HostSettings => ({ ...host, ...pairs.load(host, list) })),
  ])
  const { problems, warnings } = findings
  if (problems.length > 0) throw new ConfigError(problems, warnings)
  return { ...settings, hosts: Object.fromEntries(lists) as HostsSettings, warnings }
}

interface Chain {
  readonly pem: string
  readonly certificate: X509Certificate
}

interface Key {
  readonly pem: string
  readonly object: KeyObject
}

/** Reads the files of hosts, each only once: one that several hosts share is reported for the first of them. */
class KeyPairs {
  readonly #findings: Findings
  readonly #chains = new Map<string, Chain | undefined>()
  readonly #keys = new Map<string, Key | undefined>()
  readonly #usable = new Map<string, boolean>()

  constructor(findings: Findings) {
    this.#findings = findings
  }

  /** Undefined when the files cannot be used; every fault is noted. */
  load(
    { cert_chain_path: chainPath, private_key_path: keyPath, hostname, declared }: HostSettings,
    list: HostList,
  ): Pick<HostSettings, 'cert_chain' | 'private_key'> | undefined {
    const { file, path } = declared
    const problem = (message: string): void =>
      this.#findings.problem(file, path, `Invalid ${HOST_LIST_NAMES[list]} TLS hosts: ${message}`)
    const warn = (message: string): void => this.#findings.warn(file, path, message)
    const chain = once(this.#chains, chainPath, () => readChain(chainPath, problem, warn))
    const key = once(this.#keys, keyPath, () => readKey(keyPath, problem))
    if (chain === undefined || key === undefined) return undefined
    const pairName = `${chainPath}\0${keyPath}`
    if (!once(this.#usable, pairName, () => isUsable(chain, key, chainPath, keyPath, problem)))
      return undefined
    if (chain.certificate.checkHost(exampleOf(hostname)) === undefined)
      warn(`the certificate does not name ${hostname}; clients that verify it will refuse`)
    return { cert_chain: chain.pem, private_key: key.pem }
  }
}

function once<T>(known: Map<string, T>, name: string, make: () => T): T {
  if (!known.has(name)) known.set(name, make())
  return known.get(name) as T
}

type Report = (message: string) => void

function readChain(path: string, problem: Report, warn: Report): Chain | undefined {
  const chain = attempt(invalidChain(path), 'certificate', problem, () => {
    const pem = readFileSync(path, 'utf8')
    return { pem, certificate: new X509Certificate(pem) }
  })
  if (chain !== undefined) warnOfDates(chain.certificate, warn)
  return chain
}

function readKey(path: string, problem: Report): Key | undefined {
  return attempt(invalidKey(path), 'private key', problem, () => {
    const pem = readFileSync(path, 'utf8')
    if (ENCRYPTED.test(pem))
      throw new Error('it is encrypted; `openssl pkey` writes one without a passphrase')
    return { pem, object: createPrivateKey(pem) }
  })
}

/** Files that OpenSSL can read may still be refused by TLS, which is the last to judge. */
function isUsable(chain: Chain, key: Key, chainPath: string, keyPath: string, problem: Report): boolean {
  if (!chain.certificate.checkPrivateKey(key.object)) {
    problem(`${invalidKey(keyPath)}, error='it does not belong to the certificate ${chainPath}'`)
    return false
  }
  const cert = chain.pem
  return (
    isAccepted(invalidChain(chainPath), { cert }, problem) &&
    isAccepted(invalidKey(keyPath), { cert, key: key.pem }, problem)
  )
}

function isAccepted(what: string, options: SecureContextOptions, problem: Report): boolean {
  try {
    createSecureContext(options)
    return true
  } catch (error) {
    problem(`${what}, error='TLS refuses it: ${tlsReasonOf(error)}'`)
    return false
  }
}

function tlsReasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ERR_SSL_EE_KEY_TOO_SMALL') return 'its key is too short; RSA needs 2048 bits or more'
  if (code === 'ERR_SSL_CA_KEY_TOO_SMALL')
    return 'the key of an issuer in it is too short; RSA needs 2048 bits or more'
  return reasonOf(error)
}

function invalidChain(path: string): string {
  return `Invalid cert chain: path='${path}'`
}

function invalidKey(path: string): string {
  return `Invalid key: path='${path}'`
}

/** `expected` says what the file must contain, since OpenSSL's own message says little. */
function attempt<T>(what: string, expected: string, problem: Report, run: () => T): T | undefined {
  try {
    return run()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const hint = code.startsWith('ERR_OSSL') ? `no ${expected} in PEM form is in it: ` : ''
    problem(`${what}, error='${hint}${reasonOf(error)}'`)
    return undefined
  }
}

function warnOfDates(certificate: X509Certificate, warn: Report): void {
  const now = Date.now()
  if (certificate.validToDate.getTime() < now)
    warn(`the certificate expired on ${certificate.validToDate.toISOString()}`)
  if (certificate.validFromDate.getTime() > now)
    warn(`the certificate is not valid before ${certificate.validFromDate.toISOString()}`)
}
