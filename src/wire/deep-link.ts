/**
 * The `tt://` link that configures a client (`docs/protocol.md`, "What a client is given"): base64url without padding
 * over `tag varint | length varint | value`, repeated. Unknown tags are skipped. When a tag is repeated the last one
 * counts, except that addresses add up. Fields with their default value are not written.
 */
import { EndpointError } from '../errors.ts'
import { Cursor } from './cursor.ts'
import { encodeVarint, readVarint } from './varint.ts'

const DEEP_LINK_VERSION = 1
/** Far above any link that people pass around; a certificate chain fits. */
const MAX_DEEP_LINK_LENGTH = 65_536

export interface DeepLink {
  /** 0 when the link has no version field. */
  readonly version: number
  readonly hostname: string
  readonly username: string
  readonly password: string
  /** `host:port`, at least one. */
  readonly addresses: readonly string[]
  /** `hex` or `hex/hexmask`. */
  readonly clientRandomPrefix?: string
  readonly customSni?: string
  readonly hasIpv6: boolean
  readonly skipVerification: boolean
  readonly antiDpi: boolean
  /** DER certificates, one after the other. */
  readonly certificate?: Uint8Array
  readonly upstreamProtocol: 'http2' | 'http3'
  readonly name?: string
  readonly dnsUpstreams: readonly string[]
}

type Defaulted = 'version' | 'hasIpv6' | 'skipVerification' | 'antiDpi' | 'upstreamProtocol' | 'dnsUpstreams'
/** What {@link encodeDeepLink} takes: defaults may be left out. The version written is always the current one. */
export type DeepLinkFields = Omit<DeepLink, Defaulted> & Partial<Pick<DeepLink, Defaulted>>

const TAG = {
  version: 0x00,
  hostname: 0x01,
  address: 0x02,
  custom_sni: 0x03,
  has_ipv6: 0x04,
  username: 0x05,
  password: 0x06,
  skip_verification: 0x07,
  certificate: 0x08,
  upstream_protocol: 0x09,
  anti_dpi: 0x0a,
  client_random_prefix: 0x0b,
  name: 0x0c,
  dns_upstreams: 0x0d,
} as const
type Field = keyof typeof TAG

const FIELD_OF_TAG = new Map<bigint, Field>(
  Object.entries(TAG).map(([field, tag]) => [BigInt(tag), field as Field]),
)
const PROTOCOL_BYTE = { http2: 1, http3: 2 } as const
const HEX_PREFIX = /^(?:[0-9a-f]{2})+(?:\/(?:[0-9a-f]{2})+)?$/i
const BASE64URL = /^[A-Za-z0-9_-]*$/
/** The second form is the older one. */
const SCHEMES = ['tt://?', 'tt://'] as const

/**
 * Builds the link, with its fields in the order of the reference endpoint.
 * @throws EndpointError `malformed`, naming the field, when the decoder would refuse the link.
 */
export function encodeDeepLink(fields: DeepLinkFields): string {
  const parts: Buffer[] = []
  const add = (field: Field, value: Uint8Array | string | undefined): void => {
    if (value === undefined) return
    const bytes = typeof value === 'string' ? Buffer.from(value) : value
    parts.push(encodeVarint(TAG[field]), encodeVarint(bytes.length), Buffer.from(bytes))
  }
  if (fields.addresses.length === 0) throw missing('address')
  add('version', encodeVarint(DEEP_LINK_VERSION))
  add('hostname', fields.hostname)
  add('username', fields.username)
  add('password', fields.password)
  for (const address of fields.addresses) add('address', address)
  add('client_random_prefix', checkedPrefix(fields.clientRandomPrefix))
  add('custom_sni', fields.customSni)
  if (fields.hasIpv6 === false) add('has_ipv6', Buffer.of(0))
  if (fields.skipVerification === true) add('skip_verification', Buffer.of(1))
  if (fields.antiDpi === true) add('anti_dpi', Buffer.of(1))
  add('certificate', fields.certificate)
  if (fields.upstreamProtocol === 'http3') add('upstream_protocol', Buffer.of(PROTOCOL_BYTE.http3))
  add('name', fields.name)
  if ((fields.dnsUpstreams ?? []).length > 0) add('dns_upstreams', encodeList(fields.dnsUpstreams ?? []))
  return SCHEMES[0] + Buffer.concat(parts).toString('base64url')
}

function encodeList(values: readonly string[]): Buffer {
  return Buffer.concat(
    values.flatMap((value) => {
      const bytes = Buffer.from(value)
      return [encodeVarint(bytes.length), bytes]
    }),
  )
}

/**
 * Reads a link.
 * @throws EndpointError `malformed` with the field's name in the message; `unsupported` for a newer version.
 */
export function decodeDeepLink(uri: string): DeepLink {
  const cursor = new Cursor(decodePayload(uri))
  const found: Found = {}
  const addresses: string[] = []
  while (cursor.remaining > 0) {
    const [tag, value] = readEntry(cursor)
    const field = FIELD_OF_TAG.get(tag)
    if (field === undefined) continue
    if (field === 'address') addresses.push(text(field, value))
    else READERS[field](found, value)
  }
  const { hostname, username, password } = found
  if (hostname === undefined) throw missing('hostname')
  if (addresses.length === 0) throw missing('address')
  if (username === undefined) throw missing('username')
  if (password === undefined) throw missing('password')
  return {
    version: 0,
    hasIpv6: true,
    skipVerification: false,
    antiDpi: false,
    upstreamProtocol: 'http2',
    dnsUpstreams: [],
    ...found,
    hostname,
    username,
    password,
    addresses,
  }
}

type Found = { -readonly [Key in keyof DeepLink]?: DeepLink[Key] }

const READERS: Record<Exclude<Field, 'address'>, (found: Found, value: Uint8Array) => void> = {
  version: (found, value) => (found.version = version(value)),
  hostname: (found, value) => (found.hostname = text('hostname', value)),
  custom_sni: (found, value) => (found.customSni = text('custom_sni', value)),
  has_ipv6: (found, value) => (found.hasIpv6 = flag('has_ipv6', value)),
  username: (found, value) => (found.username = text('username', value)),
  password: (found, value) => (found.password = text('password', value)),
  skip_verification: (found, value) => (found.skipVerification = flag('skip_verification', value)),
  certificate: (found, value) => (found.certificate = value),
  upstream_protocol: (found, value) => (found.upstreamProtocol = protocol(value)),
  anti_dpi: (found, value) => (found.antiDpi = flag('anti_dpi', value)),
  client_random_prefix: (found, value) => {
    const prefix = checkedPrefix(text('client_random_prefix', value))
    if (prefix !== undefined) found.clientRandomPrefix = prefix
  },
  name: (found, value) => (found.name = text('name', value)),
  dns_upstreams: (found, value) => (found.dnsUpstreams = list('dns_upstreams', value)),
}

function decodePayload(uri: string): Buffer {
  if (uri.length > MAX_DEEP_LINK_LENGTH) throw new EndpointError('too_long', 'deep link: too long')
  const scheme = SCHEMES.find((candidate) => uri.startsWith(candidate))
  if (scheme === undefined) throw malformed('scheme', 'must be tt://')
  const encoded = uri.slice(scheme.length)
  if (!BASE64URL.test(encoded) || encoded.length % 4 === 1) {
    throw malformed('payload', 'not base64url without padding')
  }
  return Buffer.from(encoded, 'base64url')
}

function readEntry(cursor: Cursor): [tag: bigint, value: Uint8Array] {
  let name = 'tag'
  try {
    const tag = readVarint(cursor)
    name = FIELD_OF_TAG.get(tag) ?? `tag ${tag}`
    return [tag, cursor.bytes(Number(readVarint(cursor)))]
  } catch (error) {
    throw new EndpointError('malformed', `deep link: ${name}: truncated`, { cause: error })
  }
}

function version(value: Uint8Array): number {
  const cursor = new Cursor(value)
  let read: bigint
  try {
    read = readVarint(cursor)
  } catch (error) {
    throw new EndpointError('malformed', 'deep link: version: truncated', { cause: error })
  }
  if (cursor.remaining > 0) throw malformed('version', 'not one integer')
  if (read > BigInt(DEEP_LINK_VERSION)) {
    throw new EndpointError('unsupported', `deep link: version: ${read} is not supported`)
  }
  return Number(read)
}

function text(field: Field, value: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value)
  } catch (error) {
    throw new EndpointError('malformed', `deep link: ${field}: not UTF-8`, { cause: error })
  }
}

function flag(field: Field, value: Uint8Array): boolean {
  const byte = value[0]
  if (value.length !== 1 || byte === undefined || byte > 1) throw malformed(field, 'not one byte 0 or 1')
  return byte === 1
}

function protocol(value: Uint8Array): 'http2' | 'http3' {
  if (value.length === 1 && value[0] === PROTOCOL_BYTE.http2) return 'http2'
  if (value.length === 1 && value[0] === PROTOCOL_BYTE.http3) return 'http3'
  throw malformed('upstream_protocol', 'not one byte 1 or 2')
}

function list(field: Field, value: Uint8Array): string[] {
  const cursor = new Cursor(value)
  const values: string[] = []
  while (cursor.remaining > 0) {
    let entry: Uint8Array
    try {
      entry = cursor.bytes(Number(readVarint(cursor)))
    } catch (error) {
      throw new EndpointError('malformed', `deep link: ${field}: truncated`, { cause: error })
    }
    values.push(text(field, entry))
  }
  return values
}

function checkedPrefix(prefix: string | undefined): string | undefined {
  if (prefix !== undefined && !HEX_PREFIX.test(prefix)) {
    throw malformed('client_random_prefix', 'not hex or hex/hexmask')
  }
  return prefix
}

function missing(field: Field): EndpointError {
  return malformed(field, 'missing required field')
}

function malformed(field: Field | 'scheme' | 'payload', what: string): EndpointError {
  return new EndpointError('malformed', `deep link: ${field}: ${what}`)
}
