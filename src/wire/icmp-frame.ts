/**
 * Echo requests and answers inside an `_icmp` stream (specification 7.3 and 7.4; big-endian, fixed size).
 *
 *   request  id 2 | destination 16 | sequence 2 | TTL 1 | data size 2     23 bytes
 *   reply    id 2 | source 16 | type 1 | code 1 | sequence 2              22 bytes
 *
 * Every sequence of bytes is valid, so nothing here fails.
 */
import { decodePaddedAddress, encodePaddedAddress } from './padded-address.ts'

export const ICMP_REQUEST_BYTES = 23
export const ICMP_REPLY_BYTES = 22

export interface IcmpRequest {
  readonly id: number
  /** In canonical form. */
  readonly destination: string
  readonly family: 4 | 6
  readonly sequence: number
  /** TTL or hop limit, 0 to 255. */
  readonly ttl: number
  /** Bytes of echo data to generate, 0 to 65535; the data itself never crosses the tunnel. */
  readonly dataSize: number
}

export interface IcmpReply {
  readonly id: number
  /** Who answered: the target, or a router on the way. */
  readonly source: string
  readonly family: 4 | 6
  /** As on the wire of that family: an echo reply is 0 over IPv4 and 129 over IPv6. */
  readonly type: number
  readonly code: number
  readonly sequence: number
}

/** Cuts a byte stream into records of one size. Holds less than one record. */
class RecordDecoder<Value> {
  readonly #partial: Buffer
  readonly #decode: (bytes: Buffer, offset: number) => Value
  #held = 0

  constructor(size: number, decode: (bytes: Buffer, offset: number) => Value) {
    this.#partial = Buffer.alloc(size)
    this.#decode = decode
  }

  /** The values that these bytes complete, in order. Keeps nothing of `chunk`. */
  push(chunk: Buffer): Value[] {
    const size = this.#partial.length
    const values: Value[] = []
    let offset = 0
    if (this.#held > 0) {
      offset = chunk.copy(this.#partial, this.#held)
      this.#held += offset
      if (this.#held < size) return values
      values.push(this.#decode(this.#partial, 0))
    }
    for (; offset + size <= chunk.length; offset += size) values.push(this.#decode(chunk, offset))
    this.#held = chunk.copy(this.#partial, 0, offset)
    return values
  }
}

/** The endpoint's side. */
export class IcmpRequestDecoder extends RecordDecoder<IcmpRequest> {
  constructor() {
    super(ICMP_REQUEST_BYTES, decodeIcmpRequest)
  }
}

/** The client's side. */
export class IcmpReplyDecoder extends RecordDecoder<IcmpReply> {
  constructor() {
    super(ICMP_REPLY_BYTES, decodeIcmpReply)
  }
}

function decodeIcmpRequest(bytes: Buffer, offset: number): IcmpRequest {
  const { address, family } = decodePaddedAddress(bytes, offset + 2)
  return {
    id: bytes.readUInt16BE(offset),
    destination: address,
    family,
    sequence: bytes.readUInt16BE(offset + 18),
    ttl: bytes.readUInt8(offset + 20),
    dataSize: bytes.readUInt16BE(offset + 21),
  }
}

function decodeIcmpReply(bytes: Buffer, offset: number): IcmpReply {
  const { address, family } = decodePaddedAddress(bytes, offset + 2)
  return {
    id: bytes.readUInt16BE(offset),
    source: address,
    family,
    type: bytes.readUInt8(offset + 18),
    code: bytes.readUInt8(offset + 19),
    sequence: bytes.readUInt16BE(offset + 20),
  }
}

/** @throws EndpointError `malformed` when `destination` is not an IP address. */
export function encodeIcmpRequest(request: Omit<IcmpRequest, 'family'>): Buffer {
  const frame = Buffer.allocUnsafe(ICMP_REQUEST_BYTES)
  frame.writeUInt16BE(request.id, 0)
  encodePaddedAddress(request.destination, frame, 2)
  frame.writeUInt16BE(request.sequence, 18)
  frame.writeUInt8(request.ttl, 20)
  frame.writeUInt16BE(request.dataSize, 21)
  return frame
}

/** @throws EndpointError `malformed` when `source` is not an IP address. */
export function encodeIcmpReply(reply: Omit<IcmpReply, 'family'>): Buffer {
  const frame = Buffer.allocUnsafe(ICMP_REPLY_BYTES)
  frame.writeUInt16BE(reply.id, 0)
  encodePaddedAddress(reply.source, frame, 2)
  frame.writeUInt8(reply.type, 18)
  frame.writeUInt8(reply.code, 19)
  frame.writeUInt16BE(reply.sequence, 20)
  return frame
}
