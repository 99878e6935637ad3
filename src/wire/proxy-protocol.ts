/**
 * The PROXY protocol, versions 1 and 2 (haproxy.org, "The PROXY protocol", sections 2.1 and 2.2): the line or block
 * in front of a connection in which a load balancer names the real client.
 *
 *   v1   PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n
 *   v2   signature 12 | version and command 1 | family 1 | length 2 | addresses | TLVs
 */
import { parseIpAddress, formatIpv4, formatIpv6 } from './ip-address.ts'

/** Longest line of version 1, including its CRLF. */
const MAX_V1_BYTES = 107
/** Longest block of addresses and TLVs that is accepted; the format would allow 65535. */
export const MAX_V2_BLOCK_BYTES = 4096
const V1_START = Buffer.from('PROXY ')
const V2_SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const V2_HEADER_BYTES = V2_SIGNATURE.length + 4

const COMMAND_LOCAL = 0x20
const COMMAND_PROXY = 0x21
const FAMILY_UNSPECIFIED = 0x00
const FAMILY_TCP4 = 0x11
const FAMILY_TCP6 = 0x21
const PORT = /^(?:0|[1-9][0-9]{0,4})$/

export interface ProxySource {
  /** In canonical form. */
  readonly address: string
  readonly family: 4 | 6
  readonly port: number
}

export type ProxyHeaderResult =
  | { readonly kind: 'need-more' }
  /** The header is the first `length` bytes. Without a source, the connection is the balancer's own: a health check. */
  | { readonly kind: 'header'; readonly length: number; readonly source: ProxySource | undefined }
  | { readonly kind: 'malformed' }

const NEED_MORE: ProxyHeaderResult = { kind: 'need-more' }
const MALFORMED: ProxyHeaderResult = { kind: 'malformed' }

/**
 * Looks at everything that has arrived so far. Cheap to repeat: an incomplete version 2 header costs one comparison,
 * and version 1 is short.
 */
export function parseProxyHeader(bytes: Buffer): ProxyHeaderResult {
  if (startsLike(bytes, V2_SIGNATURE)) return bytes.length < V2_HEADER_BYTES ? NEED_MORE : parseV2(bytes)
  if (startsLike(bytes, V1_START)) return parseV1(bytes)
  return MALFORMED
}

/** Whether `bytes` begin with `start`, or could once more of them arrive. */
function startsLike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length)
  return bytes.compare(start, 0, length, 0, length) === 0
}

function parseV1(bytes: Buffer): ProxyHeaderResult {
  const lineFeed = bytes.subarray(0, MAX_V1_BYTES).indexOf('\n')
  if (lineFeed < 0) return bytes.length < MAX_V1_BYTES ? NEED_MORE : MALFORMED
  if (bytes[lineFeed - 1] !== 0x0d) return MALFORMED
  const line = bytes.toString('latin1', 0, lineFeed - 1)
  const length = lineFeed + 1
  // Whatever follows UNKNOWN must be ignored.
  if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN ')) {
    return { kind: 'header', length, source: undefined }
  }
  const [, protocol, from, to, fromPort, toPort, ...rest] = line.split(' ')
  const family = protocol === 'TCP4' ? 4 : protocol === 'TCP6' ? 6 : undefined
  if (family === undefined || rest.length > 0) return MALFORMED
  const source = parseIpAddress(from ?? '')
  const port = parsePort(fromPort)
  if (source?.family !== family || parseIpAddress(to ?? '')?.family !== family) return MALFORMED
  if (port === undefined || parsePort(toPort) === undefined) return MALFORMED
  return { kind: 'header', length, source: { address: source.address, family, port } }
}

function parsePort(text = ''): number | undefined {
  const port = PORT.test(text) ? Number(text) : Infinity
  return port <= 65535 ? port : undefined
}

function parseV2(bytes: Buffer): ProxyHeaderResult {
  const command = bytes.readUInt8(V2_SIGNATURE.length)
  const family = bytes.readUInt8(V2_SIGNATURE.length + 1)
  const blockBytes = bytes.readUInt16BE(V2_SIGNATURE.length + 2)
  if (command !== COMMAND_LOCAL && command !== COMMAND_PROXY) return MALFORMED
  if (blockBytes > MAX_V2_BLOCK_BYTES) return MALFORMED
  const length = V2_HEADER_BYTES + blockBytes
  if (command === COMMAND_LOCAL || family === FAMILY_UNSPECIFIED) {
    return bytes.length < length ? NEED_MORE : { kind: 'header', length, source: undefined }
  }
  const addressBytes = family === FAMILY_TCP4 ? 4 : family === FAMILY_TCP6 ? 16 : undefined
  if (addressBytes === undefined || blockBytes < 2 * addressBytes + 4) return MALFORMED
  if (bytes.length < length) return NEED_MORE
  const at = V2_HEADER_BYTES
  const port = bytes.readUInt16BE(at + 2 * addressBytes)
  const source: ProxySource =
    addressBytes === 4
      ? { address: formatIpv4(bytes, at), family: 4, port }
      : { address: formatIpv6(bytes, at), family: 6, port }
  return { kind: 'header', length, source }
}
