/** The slow reading of a whole connection (RFC 9113 sections 3.4 and 4.1): what the frame parser must tell its sink. */
import { Handling } from '../../../../src/wire/http2/frame-parser.ts'

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const FIRST_LINE_BYTES = 16
const HEAD_BYTES = 9

/** What the tests' sink does with a frame; by type, so that all three come up. */
export function handlingOf(type: number): Handling {
  if (type === 0) return Handling.STREAM
  return type > 9 ? Handling.SKIP : Handling.COLLECT
}

export function headEvent(type: number, flags: number, streamId: number, length: number): string {
  return `head ${type} ${flags} ${streamId} ${length}`
}

/** One line per event; the pieces of a payload are one event. */
export function slowParse(bytes: Buffer): string[] {
  const text = bytes.toString('latin1')
  for (const end of [FIRST_LINE_BYTES, PREFACE.length]) {
    if (text.length < end) return []
    if (text.slice(0, end) !== PREFACE.slice(0, end)) return ['bad preface']
  }
  const events: string[] = []
  let rest = bytes.subarray(PREFACE.length)
  while (rest.length >= HEAD_BYTES) {
    const length = parseInt(rest.toString('hex', 0, 3), 16)
    const type = rest[3] ?? 0
    const streamId = parseInt(rest.toString('hex', 5, 9), 16) % 2 ** 31
    const payload = rest.subarray(HEAD_BYTES, HEAD_BYTES + length)
    const isComplete = payload.length === length
    events.push(headEvent(type, rest[4] ?? 0, streamId, length))
    const handling = handlingOf(type)
    if (handling === Handling.COLLECT && isComplete) events.push(`payload ${payload.toString('hex')}`)
    if (handling === Handling.STREAM && payload.length > 0) events.push(`pieces ${payload.toString('hex')}`)
    if (handling === Handling.STREAM && isComplete) events.push('pieces end')
    if (!isComplete) break
    rest = rest.subarray(HEAD_BYTES + length)
  }
  return events
}
