/** Frames out of what was written, for tests to look at. */
import { frameName } from '../../../support/http2-frames.ts'
import type { FrameName } from '../../../support/http2-frames.ts'

const HEAD_BYTES = 9

export interface SentFrame {
  readonly name: FrameName | undefined
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** Throws when the bytes do not end with a frame. */
export function framesOf(bytes: Buffer): SentFrame[] {
  const frames: SentFrame[] = []
  for (let at = 0; at < bytes.length;) {
    const end = at + HEAD_BYTES + bytes.readUIntBE(at, 3)
    if (end > bytes.length) throw new Error('ends inside a frame')
    frames.push({
      name: frameName(bytes.readUInt8(at + 3)),
      flags: bytes.readUInt8(at + 4),
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + HEAD_BYTES, end),
    })
    at = end
  }
  return frames
}

/** One word per frame: `DATA 1 x5`, `DATA 1 x0 end`. */
export function summaryOf(bytes: Buffer): string[] {
  return framesOf(bytes).map(({ name, flags, stream, payload }) => {
    const size = name === 'DATA' ? ` x${payload.length}` : ''
    return `${name} ${stream}${size}${name === 'DATA' && (flags & 1) === 1 ? ' end' : ''}`
  })
}
