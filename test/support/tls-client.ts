/** TLS clients that control how their first bytes travel. */
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import type { NetConnectOpts, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import type { Greeting } from './gate-harness.ts'

export interface FirstBytes {
  /** Bytes per write of the ClientHello, with a pause after each; when absent, one write for all. */
  readonly pieceBytes?: number
  /** Bytes of ClientHello per TLS record; when absent, as the TLS stack made it. */
  readonly recordBytes?: number
  /** Sent before everything else. */
  readonly prefix?: Buffer
}

/** A TCP connection that splits up what is written to it first. */
class ShapedSocket extends Duplex {
  readonly #socket: Socket
  #first: FirstBytes | undefined

  constructor(socket: Socket, first: FirstBytes) {
    super()
    this.#socket = socket
    this.#first = first
    socket.setNoDelay(true)
    socket.on('data', (chunk) => void this.push(chunk))
    socket.once('end', () => this.push(null))
    socket.once('close', () => this.destroy())
    socket.on('error', (error) => this.destroy(error))
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const first = this.#first
    this.#first = undefined
    if (first === undefined) {
      this.#socket.write(chunk, done)
      return
    }
    const bytes = first.recordBytes === undefined ? chunk : inRecords(chunk, first.recordBytes)
    const all = Buffer.concat([first.prefix ?? Buffer.alloc(0), bytes])
    void writeInPieces(this.#socket, all, first.pieceBytes ?? all.length, done)
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }
}

/** Spreads the handshake message of one record over several. */
export function inRecords(record: Buffer, recordBytes: number): Buffer {
  const parts: Buffer[] = []
  for (let at = 5; at < record.length; at += recordBytes) {
    const fragment = record.subarray(at, at + recordBytes)
    const header = Buffer.from(record.subarray(0, 5))
    header.writeUInt16BE(fragment.length, 3)
    parts.push(header, fragment)
  }
  return Buffer.concat(parts)
}

/** Writes with a turn of the event loop between the pieces, now and then a millisecond. Never rejects. */
export async function writeInPieces(
  socket: Socket,
  bytes: Buffer,
  pieceBytes: number,
  onWritten?: () => void,
): Promise<void> {
  for (let at = 0; at < bytes.length && !socket.destroyed; at += pieceBytes) {
    socket.write(bytes.subarray(at, at + pieceBytes))
    await new Promise((resolve) => (at % 50 === 0 ? setTimeout(resolve, 1) : setImmediate(resolve)))
  }
  onWritten?.()
}

/** Connects and completes the handshake. */
export async function openTls(
  port: number,
  options: ConnectionOptions & { first?: FirstBytes } = {},
): Promise<TLSSocket> {
  const { first, ...tls } = options
  const raw = await openTcp({ port, host: '127.0.0.1' })
  const socket = connectTls({
    rejectUnauthorized: false,
    servername: 'vpn.example.com',
    ...tls,
    socket: first === undefined ? raw : new ShapedSocket(raw, first),
  })
  // Our side closes with the connection, however that ends.
  socket.once('close', () => raw.destroy())
  await once(socket, 'secureConnect')
  socket.on('error', ignoreError)
  return socket
}

export async function openTcp(options: NetConnectOpts): Promise<Socket> {
  const socket = connectTcp({ noDelay: true, ...options })
  await once(socket, 'connect')
  // To the reader, a reset by the endpoint looks like the end of the data.
  socket.on('error', ignoreError)
  return socket
}

/** The next `bytes` bytes; what follows them stays. Rejects when the peer ends or closes first. */
export function readNext(socket: Socket, bytes: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const onReadable = (): void => {
    const found = socket.read(bytes) as Buffer | null
    if (found === null) return
    detach()
    resolve(found)
  }
  const onEnded = (): void => {
    detach()
    reject(new Error(`ended before ${bytes} bytes`))
  }
  const detach = (): void => {
    socket.off('readable', onReadable)
    socket.off('end', onEnded)
    socket.off('close', onEnded)
  }
  socket.on('readable', onReadable)
  socket.on('end', onEnded)
  socket.on('close', onEnded)
  return promise
}

/** The greeting line of the harness. */
export async function readGreeting(socket: TLSSocket): Promise<Greeting> {
  let text = ''
  while (!text.includes('\n')) text += (await readNext(socket, 1)).toString()
  return JSON.parse(text) as Greeting
}

/** Everything the peer sends until it closes or resets. */
export async function readToClose(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => void chunks.push(chunk))
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
  return Buffer.concat(chunks)
}

function ignoreError(): void {}
