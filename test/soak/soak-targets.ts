/** What the tunnels of the soak lead to, and the bytes that they carry. */
import type { Duplex, Readable } from 'node:stream'
import { findClosedPort } from '../support/closed-port.ts'
import { openEcho, openTcpTarget, openUdpEcho } from '../support/targets.ts'
import type { TcpTarget, UdpTarget } from '../support/targets.ts'

const CHUNK_BYTES = 65_536
/** Every transfer is a beginning of this, over and over. */
const CONTENT = Buffer.alloc(1_048_573)
for (let index = 0; index < CONTENT.length; index++) CONTENT[index] = (index * 7) ^ (index >> 8)

export interface SoakTargets extends AsyncDisposable {
  readonly echo: string
  /** Sends as many bytes as it is asked for in a line, and ends. */
  readonly source: string
  /** Reads to the end, and answers with the number of bytes. */
  readonly sink: string
  /** Resets the connection at the first byte. */
  readonly resetter: string
  /** Says goodbye and ends at the first byte, and reads on. */
  readonly leaver: string
  /** Nobody listens there. */
  readonly closed: string
  readonly udp: UdpTarget
  /** Connections that are open. */
  sockets(): number
}

export async function openTargets(): Promise<SoakTargets> {
  const udp = await openUdpEcho()
  const opened = await Promise.all([
    openEcho(),
    openTcpTarget((socket) => {
      socket.once('data', (line: Buffer) => void sendContent(socket, Number(line.toString())))
    }),
    openTcpTarget((socket) => {
      let bytes = 0
      socket.on('data', (chunk: Buffer) => (bytes += chunk.length))
      socket.on('end', () => socket.end(String(bytes)))
    }),
    openTcpTarget((socket) => {
      socket.once('data', () => socket.resetAndDestroy())
    }),
    openTcpTarget((socket) => {
      socket.once('data', () => socket.end('bye'))
    }),
  ])
  const [echo, source, sink, resetter, leaver] = opened.map(({ authority }) => authority) as Names
  return {
    echo,
    source,
    sink,
    resetter,
    leaver,
    udp,
    closed: `127.0.0.1:${await findClosedPort()}`,
    sockets: () => opened.reduce((sum, { sockets }) => sum + sockets.size, 0),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(
        [...opened, udp].map((target: TcpTarget | UdpTarget) => target[Symbol.asyncDispose]()),
      )
    },
  }
}

type Names = [string, string, string, string, string]

/** Writes so many bytes as fast as the stream takes them, and ends; resolves when that is done or the stream closes. */
export function sendContent(stream: Duplex, total: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let sent = 0
  const write = (): void => {
    while (sent < total && !stream.destroyed) {
      const offset = sent % CONTENT.length
      const part = CONTENT.subarray(offset, Math.min(offset + CHUNK_BYTES, offset + total - sent))
      sent += part.length
      if (!stream.write(part)) return
    }
    stream.off('drain', write)
    if (!stream.destroyed) stream.end()
    resolve()
  }
  stream.on('drain', write)
  stream.once('close', resolve)
  write()
  return promise
}

/** Reads to the end; rejects unless exactly so many bytes came, and the right ones. */
export async function expectContent(stream: Readable, total: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let received = 0
  stream.on('data', (chunk: Buffer) => {
    if (!isContent(chunk, received)) reject(new Error(`other bytes than were sent, after ${received}`))
    received += chunk.length
  })
  stream.once('end', resolve)
  stream.once('close', () => reject(new Error(`closed after ${received} of ${total} bytes`)))
  await promise
  if (received !== total) throw new Error(`${received} of ${total} bytes`)
}

function isContent(chunk: Buffer, position: number): boolean {
  for (let at = 0; at < chunk.length;) {
    const offset = (position + at) % CONTENT.length
    const length = Math.min(chunk.length - at, CONTENT.length - offset)
    if (CONTENT.compare(chunk, at, at + length, offset, offset + length) !== 0) return false
    at += length
  }
  return true
}
