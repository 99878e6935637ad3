/** The client's SETTINGS (RFC 9113 section 6.5), with the checks that nginx makes. */
import {
  FRAME_HEAD_BYTES,
  ErrorCode,
  Flag,
  FrameType,
  MAX_WINDOW_BYTES,
  Setting,
} from '../../wire/http2/protocol.ts'
import { writeFrameHead } from '../../wire/http2/frame-writer.ts'
import type { Output } from './output.ts'
import type { Streams } from './streams.ts'

const SETTING_BYTES = 6
const MIN_FRAME_SIZE = 16_384
const MAX_FRAME_SIZE = 16_777_215

export class PeerSettings {
  /** The client has changed the size of its header table since we last began a head with that. */
  tableUpdate = false
  readonly #streams: Streams
  readonly #output: Output

  constructor(streams: Streams, output: Output) {
    this.#streams = streams
    this.#output = output
  }

  /** Applies and acknowledges them; returns the code of the connection's error if there is one. */
  apply(payload: Buffer): number | undefined {
    let window: number | undefined
    for (let at = 0; at < payload.length; at += SETTING_BYTES) {
      const value = payload.readUInt32BE(at + 2)
      switch (payload.readUInt16BE(at)) {
        case Setting.INITIAL_WINDOW_SIZE:
          if (value > MAX_WINDOW_BYTES) return ErrorCode.FLOW_CONTROL_ERROR
          window = value
          break
        case Setting.MAX_FRAME_SIZE:
          if (value < MIN_FRAME_SIZE || value > MAX_FRAME_SIZE) return ErrorCode.PROTOCOL_ERROR
          break
        case Setting.ENABLE_PUSH:
          if (value > 1) return ErrorCode.PROTOCOL_ERROR
          break
        case Setting.HEADER_TABLE_SIZE:
          this.tableUpdate = true
      }
    }
    this.#output.last(FRAME_HEAD_BYTES, (into, at) =>
      writeFrameHead(into, at, 0, FrameType.SETTINGS, Flag.ACK, 0),
    )
    if (window !== undefined) this.#streams.setInitialSendWindow(window)
    return undefined
  }
}
