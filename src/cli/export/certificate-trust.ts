/** Whether clients can verify a certificate with the roots that come with their system, or must be given it. */
import { X509Certificate } from 'node:crypto'
import { getCACertificates } from 'node:tls'

export interface TrustOptions {
  /** In PEM. Default: the roots of this machine and of Node. */
  readonly roots?: readonly string[]
  readonly now?: Date
}

const LONGEST_CHAIN = 10

/** The certificates in a PEM text, in its order. */
export function parseChain(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return blocks.map((block) => new X509Certificate(block))
}

/** True when the first certificate names `hostname` and leads, through the others, to a known root. */
export function isTrusted(pem: string, hostname: string, options: TrustOptions = {}): boolean {
  const [leaf, ...intermediates] = parseChain(pem)
  if (leaf?.checkHost(hostname) === undefined) return false
  const now = (options.now ?? new Date()).getTime()
  const roots = (options.roots ?? systemRoots()).flatMap(parseChain)
  let current = leaf
  for (let depth = 0; depth < LONGEST_CHAIN; depth++) {
    if (!isCurrent(current, now)) return false
    if (roots.some((root) => isCurrent(root, now) && issued(root, current))) return true
    const issuer = intermediates.find((each) => each.ca && each !== current && issued(each, current))
    if (issuer === undefined) return false
    current = issuer
  }
  return false
}

function systemRoots(): string[] {
  return [...getCACertificates('bundled'), ...getCACertificates('system')]
}

function isCurrent(certificate: X509Certificate, now: number): boolean {
  return certificate.validFromDate.getTime() <= now && now <= certificate.validToDate.getTime()
}

function issued(issuer: X509Certificate, subject: X509Certificate): boolean {
  return subject.checkIssued(issuer) && subject.verify(issuer.publicKey)
}
