/**
 * Makes a self-signed certificate without external programs: X.509 v3 (RFC 5280), ECDSA on P-256 with SHA-256. It is
 * its own authority, so a client that is told to trust it verifies the chain and the name.
 */
import { createHash, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'
import { ipBytes } from '../../wire/ip-address.ts'
import * as der from './der.ts'

interface SelfSignedOptions {
  /** DNS names and addresses; the first is also the subject. */
  readonly names: readonly string[]
  readonly days: number
  readonly now?: Date
}

/** Both in PEM; the key in PKCS #8. */
interface SelfSignedCertificate {
  readonly certificate: string
  readonly privateKey: string
}

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const

const VERSION_3 = Buffer.of(2)
/** digitalSignature (bit 0) and keyCertSign (bit 5); two bits of the byte are unused. */
const KEY_USAGE = { bits: Buffer.of(0b1000_0100), unused: 2 }
const SERIAL_BYTES = 16
const DAY_MS = 86_400_000
/** Clients' clocks may be behind. */
const BACKDATED_MS = 3_600_000

export function createSelfSignedCertificate(options: SelfSignedOptions): SelfSignedCertificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = der.sequence(der.oid(OID.ecdsaWithSha256))
  const body = encodeBody(options, publicKey, algorithm)
  const signature = sign('sha256', body, privateKey)
  const certificate = der.sequence(body, algorithm, der.bitString(signature))
  return {
    certificate: encodePem('CERTIFICATE', certificate),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  }
}

/** TBSCertificate, RFC 5280 section 4.1. */
function encodeBody({ names, days, now = new Date() }: SelfSignedOptions, key: KeyObject, algorithm: Buffer) {
  const [first] = names
  if (first === undefined) throw new Error('a certificate needs a name')
  const name = der.sequence(der.setOf(der.sequence(der.oid(OID.commonName), der.utf8String(first))))
  const validity = der.sequence(
    der.time(new Date(now.getTime() - BACKDATED_MS)),
    der.time(new Date(now.getTime() + days * DAY_MS)),
  )
  // A serial number is positive: the top bit of the first byte stays clear.
  const serial = randomBytes(SERIAL_BYTES)
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40
  const publicKey = key.export({ type: 'spki', format: 'der' })
  return der.sequence(
    der.explicit(0, der.integer(VERSION_3)),
    der.integer(serial),
    algorithm,
    name,
    validity,
    name,
    publicKey,
    der.explicit(3, encodeExtensions(names, publicKey)),
  )
}

/** RFC 5280 section 4.2. */
function encodeExtensions(names: readonly string[], publicKey: Buffer): Buffer {
  const keyId = createHash('sha1').update(publicKey).digest()
  return der.sequence(
    extension(OID.basicConstraints, true, der.sequence(der.boolean(true))),
    extension(OID.keyUsage, true, der.bitString(KEY_USAGE.bits, KEY_USAGE.unused)),
    extension(OID.extendedKeyUsage, false, der.sequence(der.oid(OID.serverAuth))),
    extension(OID.subjectAltName, false, der.sequence(...names.map(encodeName))),
    extension(OID.subjectKeyIdentifier, false, der.octetString(keyId)),
    extension(OID.authorityKeyIdentifier, false, der.sequence(der.implicit(0, keyId))),
  )
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  // DER leaves out default values, and `critical` is false by default.
  return der.sequence(der.oid(id), ...(critical ? [der.boolean(true)] : []), der.octetString(value))
}

/** GeneralName: dNSName is [2], iPAddress is [7]. */
function encodeName(name: string): Buffer {
  const address = ipBytes(name)
  return address === undefined
    ? der.implicit(2, Buffer.from(name, 'ascii'))
    : der.implicit(7, Buffer.from(address))
}

function encodePem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
