/**
 * The part of HTTP/2 framing (RFC 9113 section 4.1) and HPACK (RFC 7541) that a load client needs.
 *
 *   length 24 | type 8 | flags 8 | stream 32 | payload
 */

export const FRAME_HEADER_BYTES = 9
export const MAX_FRAME_BYTES = 16_384
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export const FRAME = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
} as const
export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const
export const SETTING = { enablePush: 2, maxStreams: 3, initialWindow: 4 } as const

export function encodeFrame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length)
  writeFrameHeader(frame, payload.length, type, flags, stream)
  payload.copy(frame, FRAME_HEADER_BYTES)
  return frame
}

export function encodeFrameHeader(length: number, type: number, flags: number, stream: number): Buffer {
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES)
  writeFrameHeader(header, length, type, flags, stream)
  return header
}

function writeFrameHeader(into: Buffer, length: number, type: number, flags: number, stream: number): void {
  into.writeUIntBE(length, 0, 3)
  into[3] = type
  into[4] = flags
  into.writeUInt32BE(stream, 5)
}

export function encodeWindowUpdate(stream: number, increment: number): Buffer {
  const payload = Buffer.allocUnsafe(4)
  payload.writeUInt32BE(increment)
  return encodeFrame(FRAME.windowUpdate, 0, stream, payload)
}

export function encodeSettings(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(settings.length * 6)
  for (const [index, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, index * 6)
    payload.writeUInt32BE(value, index * 6 + 2)
  }
  return encodeFrame(FRAME.settings, 0, 0, payload)
}

/** Indices of names in the static table (RFC 7541 appendix A). */
const NAME_INDEX = { ':authority': 1, ':method': 2, 'proxy-authorization': 49, 'user-agent': 58 } as const

/** Header block of a CONNECT: literals without indexing, no Huffman code. */
export function encodeConnect(authority: string, authorization: string): Buffer {
  return Buffer.concat([
    literal(':method', 'CONNECT'),
    literal(':authority', authority),
    literal('user-agent', 'Linux bench'),
    literal('proxy-authorization', authorization),
  ])
}

function literal(name: keyof typeof NAME_INDEX, value: string): Buffer {
  const index = NAME_INDEX[name]
  // A 4-bit prefix: what does not fit goes into the next byte (RFC 7541 section 5.1).
  const prefix = index < 15 ? [index] : [15, index - 15]
  if (value.length > 126) throw new Error(`${name} is longer than one length byte says`)
  return Buffer.concat([Buffer.from([...prefix, value.length]), Buffer.from(value, 'latin1')])
}

/** Whether a header block begins with `:status: 200`, which every encoder writes as one byte. */
export function isStatus200(block: Buffer): boolean {
  let offset = 0
  while (((block[offset] ?? 0) & 0xe0) === 0x20) offset = skipTableSizeUpdate(block, offset)
  return block[offset] === 0x88
}

function skipTableSizeUpdate(block: Buffer, start: number): number {
  let offset = start + 1
  if (((block[start] ?? 0) & 0x1f) === 0x1f) while (((block[offset++] ?? 0) & 0x80) !== 0);
  return offset
}

export interface FrameSink {
  /** Part of a DATA payload, a view. */
  onDataPart(stream: number, part: Buffer): void
  /** A frame is complete; `payload` is empty for DATA. */
  onFrame(type: number, flags: number, stream: number, payload: Buffer): void
}

const NO_PAYLOAD = Buffer.alloc(0)

/** Bytes to frames. DATA is passed on in the parts in which it arrives, all else is collected. */
export class FrameDecoder {
  readonly #sink: FrameSink
  readonly #head = Buffer.alloc(FRAME_HEADER_BYTES)
  #headBytes = 0
  #left = 0
  #parts: Buffer[] = []

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  push(chunk: Buffer): void {
    let offset = 0
    while (offset < chunk.length) {
      if (this.#headBytes < FRAME_HEADER_BYTES) {
        const taken = chunk.copy(
          this.#head,
          this.#headBytes,
          offset,
          offset + FRAME_HEADER_BYTES - this.#headBytes,
        )
        this.#headBytes += taken
        offset += taken
        if (this.#headBytes < FRAME_HEADER_BYTES) return
        this.#left = this.#head.readUIntBE(0, 3)
        if (this.#left > MAX_FRAME_BYTES) throw new Error(`frame of ${this.#left} bytes`)
      }
      const end = Math.min(chunk.length, offset + this.#left)
      if (end > offset) this.#takePayload(chunk.subarray(offset, end))
      offset = end
      if (this.#left === 0) this.#finish()
    }
  }

  #takePayload(part: Buffer): void {
    this.#left -= part.length
    if (this.#head[3] === FRAME.data) this.#sink.onDataPart(this.#head.readUInt32BE(5), part)
    else this.#parts.push(part)
  }

  #finish(): void {
    const payload = this.#parts.length === 0 ? NO_PAYLOAD : Buffer.concat(this.#parts)
    this.#parts = []
    this.#headBytes = 0
    this.#sink.onFrame(this.#head[3] ?? 0, this.#head[4] ?? 0, this.#head.readUInt32BE(5), payload)
  }
}
