/** ICMP packets as routers and hosts send them, built slowly and plainly: the other side of `icmp-packet.ts`. */

/** RFC 1071 by the book: add, then fold until nothing is left over, then complement. */
export function checksum(bytes: Buffer): number {
  let sum = 0n
  const even = bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(1)])
  for (let index = 0; index < even.length; index += 2) sum += BigInt(even.readUInt16BE(index))
  while (sum >> 16n !== 0n) sum = (sum & 0xffffn) + (sum >> 16n)
  return Number(~sum & 0xffffn)
}

export function icmpMessage(
  type: number,
  code: number,
  rest: Buffer,
  pseudo: Buffer = Buffer.alloc(0),
): Buffer {
  const message = Buffer.concat([Buffer.from([type, code, 0, 0]), rest])
  message.writeUInt16BE(checksum(Buffer.concat([pseudo, message])), 2)
  return message
}

export function echoRest(id: number, sequence: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(id, 0)
  head.writeUInt16BE(sequence, 2)
  return Buffer.concat([head, payload])
}

export function ipv4Packet(
  source: Buffer,
  destination: Buffer,
  body: Buffer,
  options: Buffer = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(20 + options.length)
  header[0] = 0x40 | (header.length / 4)
  header.writeUInt16BE(header.length + body.length, 2)
  header[8] = 64
  header[9] = 1
  source.copy(header, 12)
  destination.copy(header, 16)
  options.copy(header, 20)
  return Buffer.concat([header, body])
}

/** @param extensions whole extension headers; their next-header bytes are filled in here. */
export function ipv6Packet(
  source: Buffer,
  destination: Buffer,
  body: Buffer,
  extensions: readonly { type: number; bytes: Buffer }[] = [],
): Buffer {
  const header = Buffer.alloc(40)
  header[0] = 0x60
  const chain = extensions.map(({ bytes }, index) => {
    const copy = Buffer.from(bytes)
    copy[0] = extensions[index + 1]?.type ?? 58
    return copy
  })
  header.writeUInt16BE(body.length + chain.reduce((sum, { length }) => sum + length, 0), 4)
  header[6] = extensions[0]?.type ?? 58
  header[7] = 64
  source.copy(header, 8)
  destination.copy(header, 24)
  return Buffer.concat([header, ...chain, body])
}

/** RFC 8200 section 8.1. */
export function pseudoHeader(source: Buffer, destination: Buffer, length: number): Buffer {
  const tail = Buffer.alloc(8)
  tail.writeUInt32BE(length, 0)
  tail[7] = 58
  return Buffer.concat([source, destination, tail])
}
