/** HTTP/2 frames by hand (RFC 9113 section 4.1), to write what no library would and to read what comes back. */

export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

const TYPES = [
  'DATA',
  'HEADERS',
  'PRIORITY',
  'RST_STREAM',
  'SETTINGS',
  'PUSH_PROMISE',
  'PING',
  'GOAWAY',
] as const
const MORE_TYPES = ['WINDOW_UPDATE', 'CONTINUATION'] as const
const NAMES = [...TYPES, ...MORE_TYPES]
export type FrameName = (typeof NAMES)[number]

export interface FrameFields {
  readonly flags?: number
  readonly stream?: number
  readonly payload?: Buffer | string
  /** Used instead of the payload's length. */
  readonly length?: number
}

const HEADER_BYTES = 9
const SHOWN_BYTES = 200
/** `date` in the static table of RFC 7541. */
const DATE_INDEX = 33
export const END_STREAM = 0x1
export const ACK = 0x1
export const END_HEADERS = 0x4
export const PADDED = 0x8
export const PRIORITY = 0x20

export function frame(type: FrameName | number, fields: FrameFields = {}): Buffer {
  const { flags = 0, stream = 0 } = fields
  const { payload: content = '' } = fields
  const payload = typeof content === 'string' ? Buffer.from(content, 'latin1') : content
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUIntBE(fields.length ?? payload.length, 0, 3)
  header[3] = typeof type === 'number' ? type : NAMES.indexOf(type)
  header[4] = flags
  header.writeUInt32BE(stream, 5)
  return Buffer.concat([header, payload])
}

/** Undefined for types that RFC 9113 does not define. */
export function frameName(type: number): FrameName | undefined {
  return NAMES[type]
}

export function uint32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32BE(value)
  return buffer
}

/** A header block of literal fields without Huffman coding or indexing (RFC 7541 section 6.2.2). */
export function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [Buffer.from([0]), stringLiteral(name), stringLiteral(value)]),
  )
}

function stringLiteral(value: string): Buffer {
  return Buffer.concat([prefixedInteger(value.length), Buffer.from(value, 'latin1')])
}

/** With a prefix of 7 bits (RFC 7541 section 5.1). */
function prefixedInteger(value: number): Buffer {
  if (value < 127) return Buffer.from([value])
  const bytes = [127]
  let rest = value - 127
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128)
  return Buffer.from([...bytes, rest])
}

export interface FrameDescription {
  /** Include the server's own SETTINGS and the window that comes with them. */
  readonly announced?: boolean
  /** Include how header blocks are compressed. */
  readonly blocks?: boolean
}

/** One line per frame. */
export function describeFrames(bytes: Buffer, { announced, blocks }: FrameDescription = {}): string {
  const lines: string[] = []
  let rest = bytes
  while (rest.length >= HEADER_BYTES) {
    const length = rest.readUIntBE(0, 3)
    const [name, flags] = [NAMES[rest[3] ?? 255] ?? `type ${rest[3]}`, rest[4] ?? 0]
    if (name === 'type 47' || rest.length < HEADER_BYTES + length) break
    const stream = rest.readUInt32BE(5)
    const payload = rest.subarray(HEADER_BYTES, HEADER_BYTES + length)
    const announces = stream === 0 && flags === 0 && (name === 'SETTINGS' || name === 'WINDOW_UPDATE')
    if (announced || !announces) {
      const content = name === 'HEADERS' && blocks ? describeBlock(payload) : describePayload(name, payload)
      lines.push(`${name} flags=${flags} stream=${stream} ${content}`.trimEnd())
    }
    rest = rest.subarray(HEADER_BYTES + length)
  }
  if (rest.length > 0) lines.push(`rest ${rest.toString('latin1')}`)
  return lines.join('\n')
}

function describePayload(name: string, payload: Buffer): string {
  switch (name) {
    case 'SETTINGS':
      return Array.from(
        { length: payload.length / 6 },
        (_, index) => `${payload.readUInt16BE(index * 6)}=${payload.readUInt32BE(index * 6 + 2)}`,
      ).join(' ')
    case 'WINDOW_UPDATE':
      return String(payload.readUInt32BE(0))
    case 'RST_STREAM':
      return `code=${payload.readUInt32BE(0)}`
    case 'GOAWAY':
      return `last=${payload.readUInt32BE(0)} code=${payload.readUInt32BE(4)} ${payload.subarray(8).toString('latin1')}`
    case 'DATA':
    case 'PING':
      if (payload.length > SHOWN_BYTES) return `${payload.length} bytes`
      return JSON.stringify(payload.toString('latin1'))
    default:
      return ''
  }
}

/** One item per field: how it is represented, index, name and value in hex, before Huffman decoding. */
function describeBlock(block: Buffer): string {
  const items: string[] = []
  for (let at = 0; at < block.length;) {
    const first = block[at] ?? 0
    at++
    // No server here uses an index that needs a second byte.
    if (first >= 0x80 || (first >= 0x20 && first < 0x40)) {
      items.push(first.toString(16))
      continue
    }
    const index = first >= 0x40 ? first & 0x3f : first & 0xf
    const strings = Array.from({ length: index === 0 ? 2 : 1 }, () => {
      const end = at + 1 + ((block[at] ?? 0) & 127)
      const text = block.subarray(at, end).toString('hex')
      at = end
      return text
    })
    items.push(`${first.toString(16)} ${index === DATE_INDEX ? '*' : strings.join(' ')}`)
  }
  return items.join(', ')
}
