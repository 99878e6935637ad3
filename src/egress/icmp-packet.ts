/**
 * ICMP and ICMPv6 echo packets as they travel outside the tunnel (RFC 792, RFC 4443): building requests, reading
 * replies and the errors that quote a request.
 *
 *   echo           type 1 | code 1 | checksum 2 | id 2 | sequence 2 | payload
 *   error          type 1 | code 1 | checksum 2 | 4 bytes by type | IP header | the request, perhaps cut off
 *
 * A raw IPv4 socket delivers the outer IP header as well, an IPv6 one does not. What follows the quoted request
 * (RFC 4884 extensions) is never looked at, because only `HEAD_BYTES` of the payload are compared.
 */

const ICMP_ECHO_REPLY = 0
const ICMPV6_ECHO_REPLY = 129
const ICMP_ECHO_REQUEST = 8
const ICMPV6_ECHO_REQUEST = 128

/** Echo reply, destination unreachable, time exceeded, parameter problem. */
export const ICMP_TYPES_WANTED: readonly number[] = [ICMP_ECHO_REPLY, 3, 11, 12]
/** Destination unreachable, packet too big, time exceeded, parameter problem, echo reply. */
export const ICMPV6_TYPES_WANTED: readonly number[] = [1, 2, 3, 4, ICMPV6_ECHO_REPLY]

const PROTOCOL_ICMP = 1
const NEXT_HEADER_ICMPV6 = 58
const ECHO_HEADER_BYTES = 8
const ERROR_HEADER_BYTES = 8
const MIN_IPV4_HEADER_BYTES = 20
const IPV6_HEADER_BYTES = 40
/** Hop-by-hop options, routing, destination options: length in 8-byte units, not counting the first (RFC 8200). */
const OPTION_HEADERS: readonly number[] = [0, 43, 60]
const FRAGMENT_HEADER = 44
const AUTHENTICATION_HEADER = 51

/** The largest payload of an echo: 65535 bytes less the headers (IPv4), less the ICMP header (IPv6). */
export const MAX_ECHO_PAYLOAD_BYTES = { 4: 65507, 6: 65527 } as const

/**
 * How much of a payload is compared to tell requests apart; less than any length at which routers append extensions.
 */
export const HEAD_BYTES = 32

/** The sum of 16-bit words in one's complement arithmetic (RFC 1071); an odd last byte counts as a high byte. */
export function onesSum(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let sum = 0
  let index = start
  for (; index + 1 < end; index += 2) sum += ((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0)
  if (index < end) sum += (bytes[index] ?? 0) << 8
  return foldSum(sum)
}

/** Folds a sum of words to 16 bits. Both forms of zero become 0. */
export function foldSum(sum: number): number {
  let folded = sum
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000)
  return folded === 0xffff ? 0 : folded
}

/**
 * An echo request with room for `payloadBytes`; its header is filled in except for the checksum. The caller fills the
 * payload (from byte 8 on) and calls {@link sealEchoRequest}.
 */
export function createEchoRequest(family: 4 | 6, id: number, sequence: number, payloadBytes: number): Buffer {
  const message = Buffer.alloc(ECHO_HEADER_BYTES + payloadBytes)
  message[0] = family === 4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST
  message.writeUInt16BE(id, 4)
  message.writeUInt16BE(sequence, 6)
  return message
}

/** The part of an echo that its sender chooses. */
export function echoPayload(message: Buffer): Buffer {
  return message.subarray(ECHO_HEADER_BYTES)
}

/** Writes the checksum where we, not the kernel, must do it (IPv4). Returns the sum without pseudo-header. */
export function sealEchoRequest(family: 4 | 6, message: Buffer): number {
  message.writeUInt16BE(0, 2)
  const sum = onesSum(message)
  // A message is never all zeros, so a sum of zero is really its other form, 0xffff, whose complement is zero.
  if (family === 4) message.writeUInt16BE(sum === 0 ? 0 : ~sum & 0xffff, 2)
  return sum
}

/** The echo that a received packet answers or quotes. */
export interface EchoAnswer {
  readonly type: number
  readonly code: number
  readonly id: number
  readonly sequence: number
  /** Where the request went, when an error quotes it; undefined for a reply, whose packet comes from there. */
  readonly quotedDestination: Uint8Array | undefined
  /** As much of the payload as came back. */
  readonly payload: Uint8Array
  /**
   * Whether a quoted request of `payloadBytes` bytes had the sum `sum` ({@link sealEchoRequest}). IPv6 adds the
   * pseudo-header (RFC 8200 section 8.1), whose source address only the quoted packet reveals. Always true for a reply.
   */
  hasSum(sum: number, payloadBytes: number): boolean
}

/** Reads a packet from a raw IPv4 socket. Undefined for anything that is not an answer to an echo request. */
export function parseIcmpPacket(packet: Buffer): EchoAnswer | undefined {
  const start = ipv4HeaderBytes(packet, 0)
  if (start === 0 || packet.length < start + ECHO_HEADER_BYTES) return undefined
  const type = packet[start]
  if (type === ICMP_ECHO_REPLY) return reply(packet, start)
  if (type === undefined || !ICMP_TYPES_WANTED.includes(type)) return undefined
  const inner = start + ERROR_HEADER_BYTES
  const innerHeader = ipv4HeaderBytes(packet, inner)
  const echo = inner + innerHeader
  if (innerHeader === 0 || packet.length < echo + ECHO_HEADER_BYTES) return undefined
  // In a later fragment there is payload where the header would be.
  const fragmentOffset = packet.readUInt16BE(inner + 6) & 0x1fff
  if (fragmentOffset !== 0 || packet[echo] !== ICMP_ECHO_REQUEST) return undefined
  const quotedEnd = Math.min(packet.length, inner + packet.readUInt16BE(inner + 2))
  return quoted(packet, start, echo, quotedEnd, packet.subarray(inner + 16, inner + 20), undefined)
}

/** Size of the IPv4 header at `offset` when the header is complete and the packet carries ICMP, else 0. */
function ipv4HeaderBytes(packet: Buffer, offset: number): number {
  if (packet.length < offset + MIN_IPV4_HEADER_BYTES) return 0
  const first = packet[offset] ?? 0
  if (first >>> 4 !== 4 || packet[offset + 9] !== PROTOCOL_ICMP) return 0
  const length = (first & 0x0f) * 4
  return length >= MIN_IPV4_HEADER_BYTES ? length : 0
}

/** Reads a message from a raw ICMPv6 socket. Undefined for anything that is not an answer to an echo request. */
export function parseIcmpv6Message(message: Buffer): EchoAnswer | undefined {
  if (message.length < ECHO_HEADER_BYTES) return undefined
  const type = message[0]
  if (type === ICMPV6_ECHO_REPLY) return reply(message, 0)
  if (type === undefined || !ICMPV6_TYPES_WANTED.includes(type)) return undefined
  const inner = ERROR_HEADER_BYTES
  const echo = icmpv6Offset(message, inner)
  if (echo === undefined || message[echo] !== ICMPV6_ECHO_REQUEST) return undefined
  const quotedEnd = Math.min(message.length, inner + IPV6_HEADER_BYTES + message.readUInt16BE(inner + 4))
  const pseudo = onesSum(message, inner + 8, inner + IPV6_HEADER_BYTES) + NEXT_HEADER_ICMPV6
  return quoted(message, 0, echo, quotedEnd, message.subarray(inner + 24, inner + 40), pseudo)
}

/** Where the ICMPv6 message begins in the IPv6 packet at `start`, past extension headers. */
function icmpv6Offset(packet: Buffer, start: number): number | undefined {
  if (packet.length < start + IPV6_HEADER_BYTES || (packet[start] ?? 0) >>> 4 !== 6) return undefined
  let next = packet[start + 6]
  let offset = start + IPV6_HEADER_BYTES
  while (next !== NEXT_HEADER_ICMPV6) {
    if (packet.length < offset + 8) return undefined
    const length = packet[offset + 1] ?? 0
    if (next === FRAGMENT_HEADER) {
      if (packet.readUInt16BE(offset + 2) >>> 3 !== 0) return undefined
      next = packet[offset]
      offset += 8
    } else if (next === AUTHENTICATION_HEADER) {
      next = packet[offset]
      offset += (length + 2) * 4
    } else if (next !== undefined && OPTION_HEADERS.includes(next)) {
      next = packet[offset]
      offset += (length + 1) * 8
    } else {
      return undefined
    }
  }
  return packet.length < offset + ECHO_HEADER_BYTES ? undefined : offset
}

function reply(packet: Buffer, start: number): EchoAnswer {
  return {
    type: packet[start] ?? 0,
    code: packet[start + 1] ?? 0,
    id: packet.readUInt16BE(start + 4),
    sequence: packet.readUInt16BE(start + 6),
    quotedDestination: undefined,
    payload: packet.subarray(start + ECHO_HEADER_BYTES),
    hasSum: () => true,
  }
}

function quoted(
  packet: Buffer,
  outer: number,
  echo: number,
  end: number,
  destination: Uint8Array,
  pseudoSum: number | undefined,
): EchoAnswer {
  const quotedSum = foldSum(~packet.readUInt16BE(echo + 2) & 0xffff)
  return {
    type: packet[outer] ?? 0,
    code: packet[outer + 1] ?? 0,
    id: packet.readUInt16BE(echo + 4),
    sequence: packet.readUInt16BE(echo + 6),
    quotedDestination: destination,
    payload: packet.subarray(echo + ECHO_HEADER_BYTES, Math.max(end, echo + ECHO_HEADER_BYTES)),
    hasSum: (sum, payloadBytes) => {
      const wireSum = pseudoSum === undefined ? sum : sum + pseudoSum + ECHO_HEADER_BYTES + payloadBytes
      return foldSum(wireSum) === quotedSum
    },
  }
}
