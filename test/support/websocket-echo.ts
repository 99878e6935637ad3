/** A WebSocket server (RFC 6455) that sends every message back, for browsers to talk to. */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

/** RFC 6455 section 1.3. */
const KEY_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const OPCODE_CLOSE = 8
const OPCODE_PING = 9
const OPCODE_PONG = 10
const MAX_PAYLOAD_BYTES = 16 * 1_048_576

interface Frame {
  readonly fin: boolean
  readonly opcode: number
  readonly payload: Buffer
  /** Bytes of the frame on the wire. */
  readonly length: number
}

/** For the `upgrade` event of a Node server. */
export function echoWebSocket(request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const key = request.headers['sec-websocket-key'] ?? ''
  const accept = createHash('sha1').update(`${key}${KEY_SUFFIX}`).digest('base64')
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
  )
  let pending: Buffer = head
  const onData = (chunk: Buffer): void => {
    pending = Buffer.concat([pending, chunk])
    for (let frame = decodeFrame(pending); frame !== undefined; frame = decodeFrame(pending)) {
      pending = pending.subarray(frame.length)
      answer(socket, frame)
    }
  }
  socket.on('error', () => {})
  socket.on('data', onData)
  socket.once('end', () => socket.end())
  onData(Buffer.alloc(0))
}

function answer(socket: Duplex, { fin, opcode, payload }: Frame): void {
  if (opcode === OPCODE_PONG) return
  socket.write(encodeFrame(fin, opcode === OPCODE_PING ? OPCODE_PONG : opcode, payload))
  if (opcode === OPCODE_CLOSE) socket.end()
}

/** Section 5.2; undefined while the frame is not complete. */
function decodeFrame(bytes: Buffer): Frame | undefined {
  const [first, second] = bytes
  if (first === undefined || second === undefined) return undefined
  const short = second & 0x7f
  const lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0
  const maskAt = 2 + lengthBytes
  const start = maskAt + 4
  if (bytes.length < start) return undefined
  const payloadBytes =
    lengthBytes === 0 ? short : bytes.readUIntBE(maskAt - Math.min(lengthBytes, 6), Math.min(lengthBytes, 6))
  if (payloadBytes > MAX_PAYLOAD_BYTES) throw new Error(`a frame of ${payloadBytes} bytes`)
  if (bytes.length < start + payloadBytes) return undefined
  const payload = Buffer.from(bytes.subarray(start, start + payloadBytes))
  for (let index = 0; index < payload.length; index++)
    payload[index] = (payload[index] ?? 0) ^ (bytes[maskAt + (index & 3)] ?? 0)
  return { fin: first >= 0x80, opcode: first & 0x0f, payload, length: start + payloadBytes }
}

function encodeFrame(fin: boolean, opcode: number, payload: Buffer): Buffer {
  const first = (fin ? 0x80 : 0) | opcode
  if (payload.length < 126) return Buffer.concat([Buffer.from([first, payload.length]), payload])
  const head = Buffer.alloc(payload.length < 65_536 ? 4 : 10)
  head[0] = first
  head[1] = head.length === 4 ? 126 : 127
  head.writeUIntBE(payload.length, head.length === 4 ? 2 : 4, head.length === 4 ? 2 : 6)
  return Buffer.concat([head, payload])
}
