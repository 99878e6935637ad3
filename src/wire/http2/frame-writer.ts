/** Frames into bytes, in place: each function writes at `at` and returns the end (RFC 9113 sections 4.1 and 6). */
import { FRAME_HEAD_BYTES, FrameType } from './protocol.ts'

const SETTING_BYTES = 6
/** A frame whose payload is one number of 32 bits. */
export const NUMBER_FRAME_BYTES = FRAME_HEAD_BYTES + 4
export const PING_BYTES = FRAME_HEAD_BYTES + 8
export const GOAWAY_BYTES = FRAME_HEAD_BYTES + 8

export function writeFrameHead(
  into: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): number {
  // By byte: this runs once per DATA frame, and a checked write of each number shows in profiles.
  into[at] = length >>> 16
  into[at + 1] = length >>> 8
  into[at + 2] = length
  into[at + 3] = type
  into[at + 4] = flags
  writeUint32(into, at + 5, streamId)
  return at + FRAME_HEAD_BYTES
}

function writeUint32(into: Buffer, at: number, value: number): void {
  into[at] = value >>> 24
  into[at + 1] = value >>> 16
  into[at + 2] = value >>> 8
  into[at + 3] = value
}

/** RST_STREAM with an error code, or WINDOW_UPDATE with an increment. */
export function writeNumberFrame(
  into: Buffer,
  at: number,
  type: typeof FrameType.RST_STREAM | typeof FrameType.WINDOW_UPDATE,
  streamId: number,
  value: number,
): number {
  writeUint32(into, writeFrameHead(into, at, 4, type, 0, streamId), value)
  return at + NUMBER_FRAME_BYTES
}

export function settingsBytes(count: number): number {
  return FRAME_HEAD_BYTES + count * SETTING_BYTES
}

/** @param settings identifiers and values, in the order in which they are announced. */
export function writeSettings(
  into: Buffer,
  at: number,
  settings: readonly (readonly [number, number])[],
): number {
  let end = writeFrameHead(into, at, settings.length * SETTING_BYTES, FrameType.SETTINGS, 0, 0)
  for (const [identifier, value] of settings) {
    end = into.writeUInt16BE(identifier, end)
    end = into.writeUInt32BE(value, end)
  }
  return end
}

export function writePing(into: Buffer, at: number, flags: number, content: Buffer): number {
  const start = writeFrameHead(into, at, content.length, FrameType.PING, flags, 0)
  return start + content.copy(into, start)
}

export function writeGoaway(into: Buffer, at: number, lastStreamId: number, code: number): number {
  const start = writeFrameHead(into, at, 8, FrameType.GOAWAY, 0, 0)
  writeUint32(into, start, lastStreamId)
  writeUint32(into, start + 4, code)
  return at + GOAWAY_BYTES
}
