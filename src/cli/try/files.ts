/** The private directory of `culvert try`: official files, a certificate and a user, made once and reused. */
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { quoteToml } from '../../config/official-files.ts'
import { createSelfSignedCertificate } from './certificate.ts'
import { UsageError } from '../terminal.ts'

export interface TryFiles {
  readonly directory: string
  readonly vpn: string
  readonly hosts: string
  readonly credentials: string
  readonly certificate: string
  readonly key: string
}

interface TryAddresses {
  /** `address:port` to listen on. */
  readonly listen: string
  /** The one target on loopback that clients may reach. */
  readonly allow: string
}

export const USUAL_PORT = 8443
const HOSTNAME = 'vpn.endpoint'
/** A name that programs which must verify one can be given without a resolver. */
const CURL_NAME = 'localhost'
const USERNAME = 'try'
const PASSWORD_BYTES = 18
const CERTIFICATE_DAYS = 365
const RENEW_BEFORE_MS = 30 * 86_400_000
const PRIVATE_DIRECTORY = 0o700
const PRIVATE_FILE = 0o600

export function tryDirectory(environment: NodeJS.ProcessEnv): string {
  const { CULVERT_TRY_DIR: chosen, XDG_STATE_HOME: state } = environment
  if (chosen !== undefined && chosen !== '') return chosen
  // The XDG base directory specification says to ignore relative paths.
  const base = state?.startsWith('/') === true ? state : join(homedir(), '.local/state')
  return join(base, 'culvert/try')
}

/** Makes what is missing. `vpn.toml` is written on every start, because the page has a different port each time. */
export function prepareTryFiles(directory: string, addresses: TryAddresses): TryFiles {
  openPrivateDirectory(directory)
  const files: TryFiles = {
    directory,
    vpn: join(directory, 'vpn.toml'),
    hosts: join(directory, 'hosts.toml'),
    credentials: join(directory, 'credentials.toml'),
    certificate: join(directory, 'cert.pem'),
    key: join(directory, 'key.pem'),
  }
  if (!isUsable(files)) {
    const names = [HOSTNAME, CURL_NAME, '127.0.0.1', '::1']
    const { certificate, privateKey } = createSelfSignedCertificate({ names, days: CERTIFICATE_DAYS })
    writePrivate(files.key, privateKey)
    writePrivate(files.certificate, certificate)
  }
  if (!existsSync(files.credentials)) writePrivate(files.credentials, newCredentials())
  if (!existsSync(files.hosts)) writePrivate(files.hosts, hostsToml(files))
  writePrivate(files.vpn, vpnToml(files, addresses))
  return files
}

/** Keeps the password out of the command line, where every user of the machine would see it. */
export function writeCurlConfig(
  { directory, certificate }: TryFiles,
  { port, username, password }: { port: number; username: string; password: string },
): string {
  // A second instance runs on another port, and must not redirect the command line of the first.
  const path = join(directory, port === USUAL_PORT ? 'curl.conf' : `curl-${port}.conf`)
  const lines = [
    `proxy = "https://${CURL_NAME}:${port}"`,
    `proxy-user = ${quoteForCurl(`${username}:${password}`)}`,
    `proxy-cacert = ${quoteForCurl(certificate)}`,
    // Use CONNECT for plain http too, whatever the environment says about proxies.
    'proxytunnel',
    'noproxy = ""',
  ]
  writePrivate(path, `${lines.join('\n')}\n`)
  return path
}

/** @throws UsageError when it cannot be made: the operator can choose another one. */
function openPrivateDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: PRIVATE_DIRECTORY })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new UsageError(`${reason}; CULVERT_TRY_DIR names another directory`, { cause: error })
  }
  const { uid, mode } = statSync(directory)
  if (uid !== process.getuid?.())
    throw new UsageError(`${directory} belongs to another user; CULVERT_TRY_DIR names another directory`)
  if ((mode & 0o777) !== PRIVATE_DIRECTORY) chmodSync(directory, PRIVATE_DIRECTORY)
}

/** Whether all are there, belong together, and stay valid for a while. */
function isUsable({ certificate, key }: TryFiles): boolean {
  try {
    const parsed = new X509Certificate(readFileSync(certificate))
    const matches = parsed.checkPrivateKey(createPrivateKey(readFileSync(key)))
    return matches && parsed.validToDate.getTime() - Date.now() > RENEW_BEFORE_MS
  } catch {
    return false
  }
}

function newCredentials(): string {
  const password = randomBytes(PASSWORD_BYTES).toString('base64url')
  return `[[client]]\nusername = "${USERNAME}"\npassword = "${password}"\n`
}

function hostsToml({ certificate, key }: TryFiles): string {
  return `[[main_hosts]]
hostname = "${HOSTNAME}"
allowed_sni = ["${CURL_NAME}"]
cert_chain_path = ${quoteToml(certificate)}
private_key_path = ${quoteToml(key)}
`
}

function vpnToml({ credentials }: TryFiles, { listen, allow }: TryAddresses): string {
  return `# Written by "culvert try" on every start. Copy it to keep changes, and use "culvert serve".
listen_address = "${listen}"
credentials_file = ${quoteToml(credentials)}

[listen_protocols.http1]
[listen_protocols.http2]
[listen_protocols.quic]

[culvert.egress]
allow = ["${allow}"]
`
}

function writePrivate(path: string, content: string): void {
  writeFileSync(path, content, { mode: PRIVATE_FILE })
  // The mode above applies only when the file is new.
  chmodSync(path, PRIVATE_FILE)
}

function quoteForCurl(text: string): string {
  return `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`
}
