/**
 * Datagrams inside a `_udp2` stream (specification 6.3 and 6.4; big-endian, addresses padded to 16 bytes).
 *
 *   uplink    length 4 | source 16 | port 2 | destination 16 | port 2 | L 1 | app name L | payload
 *   downlink  length 4 | source 16 | port 2 | destination 16 | port 2 | payload
 *
 * `length` counts what follows it. The reference endpoint refuses an uplink length above 65471 - L, which cuts the
 * largest legal payloads; here every payload that UDP can carry passes.
 *
 * Ownership: a datagram's payload and source are views of the chunk that was pushed, or of a buffer made for
 * that frame alone. They stay valid for as long as they are held and keep the whole chunk alive meanwhile; the
 * caller must not change a chunk after pushing it.
 */
import { EndpointError } from '../errors.ts'
import { decodePaddedAddress, encodePaddedAddress, PADDED_ADDRESS_BYTES } from './padded-address.ts'
import { LengthPrefixedDecoder } from './length-prefixed.ts'
import type { SocketAddress } from './target.ts'

const LENGTH_BYTES = 4
/** A padded address and its port. */
const ENDPOINT_BYTES = PADDED_ADDRESS_BYTES + 2
/** Source and destination. */
const ADDRESSING_BYTES = 2 * ENDPOINT_BYTES
/** Everything in front of a downlink payload. */
const DOWNLINK_HEADER_BYTES = LENGTH_BYTES + ADDRESSING_BYTES
/** 65535 less the UDP header: the most that IPv6 carries. IPv4 carries 20 bytes less; its socket refuses the rest. */
export const MAX_UDP_PAYLOAD_SIZE = 65_527
/** Addressing and the length byte of the app name: the smallest uplink length. */
const MIN_UPLINK_LENGTH = ADDRESSING_BYTES + 1
/** An uplink length above this is taken for garbage, and the stream is given up. */
export const MAX_UPLINK_LENGTH = MIN_UPLINK_LENGTH + 255 + MAX_UDP_PAYLOAD_SIZE
const MAX_DOWNLINK_LENGTH = ADDRESSING_BYTES + MAX_UDP_PAYLOAD_SIZE

/** Why a frame was skipped. Only that datagram is lost. */
export type SkipReason = 'too_short' | 'app_name_overrun' | 'payload_too_long'

/** One datagram from the client. Addresses are turned into text only when somebody asks for them. */
export class UplinkDatagram {
  /** The 36 bytes of addressing as Latin-1: the key of the flow within its stream. */
  readonly key: string
  readonly payload: Buffer
  readonly #body: Buffer

  /** Wraps a body that has been checked; see {@link UdpUplinkDecoder}. */
  constructor(body: Buffer, start: number, payloadStart: number, end: number) {
    this.key = body.toString('latin1', start, start + ADDRESSING_BYTES)
    this.payload = body.subarray(payloadStart, end)
    this.#body = body.subarray(start, payloadStart)
  }

  /** The client's padded address and port as sent; the destination of a reply repeats them byte for byte. */
  get sourceBytes(): Buffer {
    return this.#body.subarray(0, ENDPOINT_BYTES)
  }

  get source(): SocketAddress {
    return decodeEndpoint(this.#body, 0)
  }

  get destination(): SocketAddress {
    return decodeEndpoint(this.#body, ENDPOINT_BYTES)
  }

  /** Bytes that are not UTF-8 show as U+FFFD: the name is only for the log, and no reason to lose a datagram. */
  get appName(): string {
    return this.#body.toString('utf8', MIN_UPLINK_LENGTH)
  }

  /**
   * The addressing of replies in this flow, for {@link writeUdpReply}: from the destination to the client's source.
   * Returns a new buffer.
   */
  replyAddressing(): Buffer {
    const addressing = Buffer.allocUnsafeSlow(ADDRESSING_BYTES)
    this.#body.copy(addressing, 0, ENDPOINT_BYTES, ADDRESSING_BYTES)
    this.#body.copy(addressing, ENDPOINT_BYTES, 0, ENDPOINT_BYTES)
    return addressing
  }
}

export interface UplinkSink {
  /** Called in order, within `push`. A datagram may be empty. */
  onDatagram(datagram: UplinkDatagram): void
  /** A frame was skipped whole; `length` is the length it declared. */
  onSkipped(reason: SkipReason, length: number): void
}

/** The endpoint's side: turns the bytes of a `_udp2` stream into datagrams. */
export class UdpUplinkDecoder {
  readonly #frames: LengthPrefixedDecoder

  constructor(sink: UplinkSink) {
    this.#frames = new LengthPrefixedDecoder(MAX_UPLINK_LENGTH, (body, start, end) => {
      judgeUplink(sink, body, start, end)
    })
  }

  /** Whether the bytes so far end inside a frame. */
  get midFrame(): boolean {
    return this.#frames.midFrame
  }

  /**
   * Takes the next bytes and calls the sink for every frame they complete.
   * @throws EndpointError `too_long` when a length exceeds {@link MAX_UPLINK_LENGTH}, after the
   *   frames before it were delivered.
   */
  push(chunk: Buffer): void {
    this.#frames.push(chunk)
  }
}

function judgeUplink(sink: UplinkSink, body: Buffer, start: number, end: number): void {
  const length = end - start
  if (length < MIN_UPLINK_LENGTH) return sink.onSkipped('too_short', length)
  const nameStart = start + MIN_UPLINK_LENGTH
  const payloadStart = nameStart + (body[nameStart - 1] ?? 0)
  if (payloadStart > end) return sink.onSkipped('app_name_overrun', length)
  if (end - payloadStart > MAX_UDP_PAYLOAD_SIZE) return sink.onSkipped('payload_too_long', length)
  sink.onDatagram(new UplinkDatagram(body, start, payloadStart, end))
}

/** Size in bytes of a reply with `payloadLength` bytes of payload. */
export function udpReplySize(payloadLength: number): number {
  return DOWNLINK_HEADER_BYTES + payloadLength
}

/**
 * Writes one downlink frame at `offset`, where there must be room for {@link udpReplySize} bytes, and returns the
 * offset after it: several replies share one buffer and one write.
 * @param addressing 36 bytes: {@link UplinkDatagram.replyAddressing}.
 */
export function writeUdpReply(target: Buffer, offset: number, addressing: Buffer, payload: Buffer): number {
  const start = target.writeUInt32BE(ADDRESSING_BYTES + payload.length, offset)
  target.set(addressing, start)
  target.set(payload, start + ADDRESSING_BYTES)
  return start + ADDRESSING_BYTES + payload.length
}

/** The 36 bytes of addressing. @throws EndpointError `malformed` when one of the two is not an IP address. */
export function encodeAddressing(
  source: Omit<SocketAddress, 'family'>,
  destination: Omit<SocketAddress, 'family'>,
): Buffer {
  const addressing = Buffer.allocUnsafeSlow(ADDRESSING_BYTES)
  encodePaddedAddress(source.address, addressing, 0)
  addressing.writeUInt16BE(source.port, PADDED_ADDRESS_BYTES)
  encodePaddedAddress(destination.address, addressing, ENDPOINT_BYTES)
  addressing.writeUInt16BE(destination.port, ENDPOINT_BYTES + PADDED_ADDRESS_BYTES)
  return addressing
}

function decodeEndpoint(bytes: Buffer, offset: number): SocketAddress {
  const { address, family } = decodePaddedAddress(bytes, offset)
  return { address, family, port: bytes.readUInt16BE(offset + PADDED_ADDRESS_BYTES) }
}

/**
 * The client's side of the uplink: one frame in a buffer of its own.
 * @throws EndpointError `too_long` when the app name or the payload does not fit.
 */
export function encodeUdpUplink(addressing: Buffer, payload: Buffer, appName = ''): Buffer {
  const name = Buffer.from(appName)
  if (name.length > 255) throw new EndpointError('too_long', 'app name above 255 bytes')
  if (payload.length > MAX_UDP_PAYLOAD_SIZE) throw new EndpointError('too_long', 'payload above the maximum')
  const length = MIN_UPLINK_LENGTH + name.length + payload.length
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + length)
  let offset = frame.writeUInt32BE(length)
  offset += addressing.copy(frame, offset)
  offset = frame.writeUInt8(name.length, offset)
  offset += name.copy(frame, offset)
  payload.copy(frame, offset)
  return frame
}

/** One datagram to the client. `payload` is a view, as in {@link UplinkDatagram}. */
export interface DownlinkDatagram {
  readonly source: SocketAddress
  readonly destination: SocketAddress
  readonly payload: Buffer
}

/** The client's side: turns the bytes of a `_udp2` stream into replies. */
export class UdpDownlinkDecoder {
  readonly #frames: LengthPrefixedDecoder

  /** @param onSkipped called when a frame too short for its addressing was skipped. */
  constructor(onDatagram: (datagram: DownlinkDatagram) => void, onSkipped?: (reason: SkipReason) => void) {
    this.#frames = new LengthPrefixedDecoder(MAX_DOWNLINK_LENGTH, (body, start, end) => {
      if (end - start < ADDRESSING_BYTES) {
        onSkipped?.('too_short')
        return
      }
      onDatagram({
        source: decodeEndpoint(body, start),
        destination: decodeEndpoint(body, start + ENDPOINT_BYTES),
        payload: body.subarray(start + ADDRESSING_BYTES, end),
      })
    })
  }

  /** @throws EndpointError `too_long`, as {@link UdpUplinkDecoder.push}. */
  push(chunk: Buffer): void {
    this.#frames.push(chunk)
  }
}
