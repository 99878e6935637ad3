/** Header blocks out of HEADERS and CONTINUATION frames (RFC 9113 sections 6.2, 6.10 and 4.3), decoded. */
import { HpackDecoder } from '../../wire/http2/hpack-decoder.ts'
import { HpackError } from '../../wire/http2/hpack-error.ts'
import type { HpackFault } from '../../wire/http2/hpack-error.ts'
import { DEFAULT_HEADER_TABLE_BYTES, ErrorCode, Flag } from '../../wire/http2/protocol.ts'
import type { Http2Limit } from './budgets.ts'
import { EmptyName, HeadTooLarge, RequestHead } from './request-head.ts'

/** More frames than this for one block are an attack, whatever they contain (CVE-2024-27316). */
const MAX_CONTINUATIONS = 32
/** What nginx answers; RFC 9113 section 4.3 has COMPRESSION_ERROR for all of them. */
const CODES: Partial<Record<HpackFault, number>> = {
  truncated: ErrorCode.FRAME_SIZE_ERROR,
}

export interface HeadLimits {
  /** Names and values of one head, decoded. */
  readonly maxHeadBytes: number
  /** One name or value, as sent. */
  readonly maxStringBytes: number
}

const EMPTY = Buffer.alloc(0)

interface Failure {
  readonly code: number
  readonly limit?: Http2Limit
}

export class HeadReader {
  readonly #decoder: HpackDecoder
  readonly #maxHeadBytes: number
  /** Of a block that takes several frames: copies of all but the last. */
  readonly #earlier: Buffer[] = []
  #last: Buffer = EMPTY
  #bytes = 0
  #streamId = 0
  #endsStream = false
  #isTrailer = false

  constructor({ maxHeadBytes, maxStringBytes }: HeadLimits) {
    this.#maxHeadBytes = maxHeadBytes
    // The tolerance is nginx's.
    this.#decoder = new HpackDecoder(DEFAULT_HEADER_TABLE_BYTES, {
      maxStringBytes,
      lateTableSize: true,
      longPadding: true,
    })
  }

  /** A block has begun and its end has not come: nothing but CONTINUATION may follow. */
  get isOpen(): boolean {
    return this.#streamId !== 0
  }

  get streamId(): number {
    return this.#streamId
  }

  get endsStream(): boolean {
    return this.#endsStream
  }

  /** The block belongs to a stream that was open when it began. */
  get isTrailer(): boolean {
    return this.#isTrailer
  }

  /** Whether a frame of this length is too much, before any of it is kept. */
  faultOf(bytes: number): Http2Limit | undefined {
    if (this.#bytes + bytes > this.#maxHeadBytes + OVERHEAD_BYTES) return 'head_bytes'
    return this.#earlier.length > MAX_CONTINUATIONS ? 'continuations' : undefined
  }

  /** The part of a HEADERS frame that belongs to the block, or the error when padding or priority make no sense. */
  fragmentOf(flags: number, streamId: number, payload: Buffer): Buffer | number {
    let start = 0
    let end = payload.length
    if ((flags & Flag.PADDED) !== 0) end -= payload.readUInt8(start++)
    if ((flags & Flag.PRIORITY) !== 0) {
      if ((payload.readUInt32BE(start) & 0x7fffffff) === streamId) return ErrorCode.PROTOCOL_ERROR
      start += PRIORITY_BYTES
    }
    if (start === 0 && end === payload.length) return payload
    return end < start ? ErrorCode.PROTOCOL_ERROR : payload.subarray(start, end)
  }

  open(streamId: number, endsStream: boolean, isTrailer: boolean): void {
    this.#streamId = streamId
    this.#endsStream = endsStream
    this.#isTrailer = isTrailer
  }

  /** The fragment is copied unless it is the last: then {@link decode} follows at once. */
  add(fragment: Buffer, isLast: boolean): void {
    this.#bytes += fragment.length
    if (isLast) this.#last = fragment
    else this.#earlier.push(Buffer.from(fragment))
  }

  /** The block is complete, and the next one may begin. */
  decode(): { readonly head: RequestHead } | Failure {
    const block = this.#earlier.length === 0 ? this.#last : Buffer.concat([...this.#earlier, this.#last])
    this.#earlier.length = 0
    this.#last = EMPTY
    this.#bytes = 0
    this.#streamId = 0
    const head = new RequestHead(this.#maxHeadBytes)
    try {
      this.#decoder.decode(block, head)
      return { head }
    } catch (error) {
      return failureOf(error)
    }
  }
}

const PRIORITY_BYTES = 5
/** Padding, priority and what HPACK adds to names and values. */
const OVERHEAD_BYTES = 8192

function failureOf(error: unknown): Failure {
  if (error instanceof HeadTooLarge) return { code: ErrorCode.ENHANCE_YOUR_CALM, limit: 'head_bytes' }
  if (error instanceof EmptyName) return { code: ErrorCode.PROTOCOL_ERROR }
  if (!(error instanceof HpackError)) throw error
  if (error.fault === 'long_string') return { code: ErrorCode.ENHANCE_YOUR_CALM, limit: 'head_bytes' }
  return { code: CODES[error.fault] ?? ErrorCode.COMPRESSION_ERROR }
}
