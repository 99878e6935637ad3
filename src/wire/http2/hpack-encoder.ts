/**
 * Writes header blocks as nginx does (`ngx_http_v2_filter_module.c` of 1.22; RFC 7541 section 6).
 *
 *   0x20                         only after the client has sent SETTINGS_HEADER_TABLE_SIZE: table size 0
 *   1 index(7)                   status 200, 204, 206, 304, 400, 404, 500
 *   0 1 8(6) 3 digits            any other status
 *   0 1 index(6) value           server, date, content-type, content-length, last-modified, location, in this order
 *   0x00 name value              all other fields
 *
 *   name, value: huffman(1) length(7) bytes
 *
 * Names and values are Huffman coded when that makes them shorter; never those of status and content-length. Some fields
 * fill the client's table, but nothing ever refers to it: a block depends on no other, so that the order in which the
 * heads of different streams are written does not matter, and there is no state.
 */
import { EndpointError } from '../../errors.ts'
import { staticIndexOf } from './hpack-table.ts'
import { huffmanBytes, writeHuffman } from './huffman.ts'

/** A list stands for a repeated field. Names are in lower case; both are latin1. */
export type EncodedFields = readonly (readonly [name: string, value: string | readonly string[]])[]

export interface HeadOptions {
  /** The client has sent SETTINGS_HEADER_TABLE_SIZE, whatever the value, since the last head that began with this. */
  readonly tableUpdate?: boolean
  /** The fields come from an origin behind us. Then nginx does not write `last-modified` itself, but like any other. */
  readonly fromOrigin?: boolean
}

const INDEXED = 0x80
const WITH_INDEXING = 0x40
const WITHOUT_INDEXING = 0x00
const EMPTY_TABLE = 0x20
const HUFFMAN = 0x80
const LENGTH_MASK = 0x7f

/** NGX_HTTP_V2_MAX_FIELD: what the length takes 4 bytes for. */
const MAX_STRING_BYTES = 127 + 2 ** 21 - 1
/** Beside the bytes of name and value: a byte for the kind, and 4 for each length. */
const FIELD_OVERHEAD_BYTES = 9
/** Size update and status. */
const OPENING_BYTES = 6
/** For ordinary heads. Larger ones get a buffer of their own. */
const SCRATCH_BYTES = 16_384

const OK_ONLY = Buffer.from([INDEXED | 8])
const STATUS_INDEX = staticIndexOf(':status') ?? 0
const STATUSES: ReadonlyMap<number, number> = new Map(
  [200, 204, 206, 304, 400, 404, 500].map((status, at) => [status, STATUS_INDEX + at]),
)

/** The fields that nginx writes itself, in its order, with the first byte of each. */
const LEADING = ['server', 'date', 'content-type', 'content-length', 'last-modified', 'location'] as const
const LEADING_PLACES: ReadonlyMap<string, number> = new Map(LEADING.map((name, place) => [name, place]))
const LEADING_BYTES = LEADING.map((name) => WITH_INDEXING | (staticIndexOf(name) ?? 0))
const CONTENT_LENGTH = LEADING.indexOf('content-length')
const LAST_MODIFIED = LEADING.indexOf('last-modified')

const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)

/**
 * The block of a final answer. The caller may keep the buffer, but must not change it: all bare 200s share one, of a
 * single byte.
 * @throws EndpointError `malformed` for characters above U+00FF, `too_long` for a string above 2 MiB.
 */
export function encodeHead(status: number, fields: EncodedFields, options: HeadOptions = {}): Buffer {
  const tableUpdate = options.tableUpdate ?? false
  if (status === 200 && fields.length === 0 && !tableUpdate) return OK_ONLY
  const target = roomFor(OPENING_BYTES, fields)
  let offset = 0
  if (tableUpdate) target[offset++] = EMPTY_TABLE
  offset = writeStatus(status, target, offset)
  const leading = leadingOf(fields, options.fromOrigin ?? false)
  for (const [place, at] of leading.entries()) {
    if (at === undefined) continue
    target[offset++] = LEADING_BYTES[place] ?? 0
    offset = writeString(fields[at]?.[1] as string, target, offset, place !== CONTENT_LENGTH)
  }
  for (const [at, field] of fields.entries()) {
    if (!leading.includes(at)) offset = writeLiteral(field, target, offset)
  }
  return Buffer.from(target.subarray(0, offset))
}

/**
 * A block without a status: the head of a client's request, or trailers. nginx never begins trailers with the change of
 * the table's size; a client that has lowered the size since the head may insist on it.
 * @throws as {@link encodeHead}.
 */
export function encodeFields(fields: EncodedFields, options: Pick<HeadOptions, 'tableUpdate'> = {}): Buffer {
  const target = roomFor(OPENING_BYTES, fields)
  let offset = 0
  if (options.tableUpdate === true) target[offset++] = EMPTY_TABLE
  for (const field of fields) offset = writeLiteral(field, target, offset)
  return Buffer.from(target.subarray(0, offset))
}

/** For each of `LEADING` where its field is. Only the first of a name counts, and only with a single value. */
function leadingOf(fields: EncodedFields, fromOrigin: boolean): (number | undefined)[] {
  const leading: (number | undefined)[] = []
  for (const [at, [name, value]] of fields.entries()) {
    const place = LEADING_PLACES.get(name)
    if (place === undefined || typeof value !== 'string') continue
    if (fromOrigin && place === LAST_MODIFIED) continue
    leading[place] ??= at
  }
  return leading
}

/** At least as many bytes as the block can take. */
function roomFor(opening: number, fields: EncodedFields): Buffer {
  let bytes = opening
  for (const [name, value] of fields) {
    if (typeof value === 'string') bytes += FIELD_OVERHEAD_BYTES + name.length + value.length
    else for (const single of value) bytes += FIELD_OVERHEAD_BYTES + name.length + single.length
  }
  return bytes <= SCRATCH_BYTES ? scratch : Buffer.allocUnsafeSlow(bytes)
}

function writeStatus(status: number, target: Buffer, start: number): number {
  const index = STATUSES.get(status)
  if (index !== undefined) return target.writeUInt8(INDEXED | index, start)
  target[start] = WITH_INDEXING | STATUS_INDEX
  return writeRaw(String(status).padStart(3, '0'), target, start + 1)
}

function writeLiteral([name, value]: EncodedFields[number], target: Buffer, start: number): number {
  let offset = start
  for (const single of typeof value === 'string' ? [value] : value) {
    target[offset] = WITHOUT_INDEXING
    offset = writeString(name, target, offset + 1)
    offset = writeString(single, target, offset)
  }
  return offset
}

function writeString(text: string, target: Buffer, start: number, mayCompress = true): number {
  if (text.length > MAX_STRING_BYTES) throw new EndpointError('too_long', 'header field above 2 MiB')
  const bytes = huffmanBytes(text)
  if (Number.isNaN(bytes)) throw new EndpointError('malformed', 'header field with characters above U+00FF')
  if (!mayCompress || bytes >= text.length) return writeRaw(text, target, start)
  return writeHuffman(text, target, writeLength(HUFFMAN, bytes, target, start))
}

function writeRaw(text: string, target: Buffer, start: number): number {
  const offset = writeLength(0, text.length, target, start)
  return offset + target.write(text, offset, 'latin1')
}

function writeLength(flag: number, length: number, target: Buffer, start: number): number {
  if (length < LENGTH_MASK) return target.writeUInt8(flag | length, start)
  let offset = target.writeUInt8(flag | LENGTH_MASK, start)
  let rest = length - LENGTH_MASK
  for (; rest >= 0x80; rest >>>= 7) target[offset++] = (rest & 0x7f) | 0x80
  return target.writeUInt8(rest, offset)
}
