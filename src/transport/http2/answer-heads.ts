/** The heads of our answers: HEADERS, and CONTINUATION where one frame is not enough (RFC 9113 sections 6.2, 8.3.2). */
import type { ResponseHeaders } from '../../contract/exchange.ts'
import { writeFrameHead } from '../../wire/http2/frame-writer.ts'
import { encodeHead } from '../../wire/http2/hpack-encoder.ts'
import { DEFAULT_FRAME_BYTES, FRAME_HEAD_BYTES, Flag, FrameType } from '../../wire/http2/protocol.ts'
import type { Output } from './output.ts'
import type { PeerSettings } from './settings.ts'
import type { Http2Stream } from './stream.ts'

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
// oxlint-disable-next-line no-control-regex
const FORBIDDEN_IN_VALUE = /[\u0000\r\n\u0100-\uffff]/
/** Section 8.2.2: HTTP/2 has other means. */
const OF_A_CONNECTION: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

export class AnswerHeads {
  readonly #output: Output
  readonly #settings: PeerSettings

  constructor(output: Output, settings: PeerSettings) {
    this.#output = output
    this.#settings = settings
  }

  /** @throws TypeError for a field that HTTP cannot carry. */
  send(stream: Http2Stream, status: number, headers: ResponseHeaders, endStream: boolean): void {
    const fields = Object.entries(headers)
    for (const [name, value] of fields) check(name, value)
    const block = encodeHead(status, fields, { tableUpdate: this.#settings.tableUpdate })
    this.#settings.tableUpdate = false
    this.#sendBlock(stream.id, block, endStream)
    if (endStream) stream.onLocalEnd()
  }

  /** In one go: nothing may come between the frames of a block. */
  #sendBlock(streamId: number, block: Buffer, endStream: boolean): void {
    const frames = Math.max(1, Math.ceil(block.length / DEFAULT_FRAME_BYTES))
    this.#output.urgent(frames * FRAME_HEAD_BYTES + block.length, (into, at) => {
      let next = at
      for (let frame = 0; frame < frames; frame++) {
        const start = frame * DEFAULT_FRAME_BYTES
        const part = block.subarray(start, start + DEFAULT_FRAME_BYTES)
        const type = frame === 0 ? FrameType.HEADERS : FrameType.CONTINUATION
        const flags =
          (frame === 0 && endStream ? Flag.END_STREAM : 0) | (frame === frames - 1 ? Flag.END_HEADERS : 0)
        next = writeFrameHead(into, next, part.length, type, flags, streamId)
        next += part.copy(into, next)
      }
    })
  }
}

function check(name: string, value: string | readonly string[]): void {
  if (!NAME.test(name) || OF_A_CONNECTION.has(name)) throw new TypeError(`field ${JSON.stringify(name)}`)
  for (const single of typeof value === 'string' ? [value] : value)
    if (FORBIDDEN_IN_VALUE.test(single)) throw new TypeError(`value of ${name}`)
}
