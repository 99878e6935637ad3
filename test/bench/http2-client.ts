/**
 * HTTP/2 (RFC 9113) with the least work per byte: node:http2 as a client costs about as much as the endpoint
 * and would be the slower of the two. Windows are those that TrustTunnel clients reach.
 */
import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'
import {
  encodeConnect,
  encodeFrame,
  encodeFrameHeader,
  encodeSettings,
  encodeWindowUpdate,
  FLAG,
  FRAME,
  FrameDecoder,
  isStatus200,
  MAX_FRAME_BYTES,
  PREFACE,
  SETTING,
  type FrameSink,
} from './http2-frames.ts'
import { tlsOptions } from './tunnel-client.ts'
import type { EndpointAccess, Tunnel, TunnelClient, TunnelListener } from './tunnel-client.ts'

const SESSION_WINDOW_BYTES = 8_388_608
const STREAM_WINDOW_BYTES = 4_194_304
const DEFAULT_WINDOW_BYTES = 65_535
/** Bytes that may wait for the next write to the socket; above that the tunnels are paused. */
const OUTPUT_LIMIT_BYTES = 524_288

export class Http2Client implements TunnelClient, FrameSink {
  readonly #socket: TLSSocket
  readonly #access: EndpointAccess
  readonly #tunnels = new Map<number, Http2Tunnel>()
  /** Tunnels that wait for window or for the socket. */
  readonly #blocked = new Set<Http2Tunnel>()
  /** CONNECTs that wait until the endpoint allows another stream. */
  readonly #waiting: { readonly stream: number; readonly block: Buffer }[] = []
  #maxStreams = Infinity
  #output: Buffer[] = []
  #outputBytes = 0
  #nextStream = 1
  #sessionWindow = DEFAULT_WINDOW_BYTES
  #streamWindow = DEFAULT_WINDOW_BYTES
  #received = 0

  private constructor(socket: TLSSocket, access: EndpointAccess) {
    this.#socket = socket
    this.#access = access
  }

  /** Resolves when the endpoint's SETTINGS have arrived. */
  static async open(access: EndpointAccess): Promise<Http2Client> {
    const socket = connect(tlsOptions(access, 'h2'))
    await once(socket, 'secureConnect')
    if (socket.alpnProtocol !== 'h2') throw new Error('HTTP/2 is not offered')
    const client = new Http2Client(socket, access)
    await client.#start()
    return client
  }

  async #start(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const decoder = new FrameDecoder({
      onDataPart: (stream, part) => this.onDataPart(stream, part),
      onFrame: (type, flags, stream, payload) => {
        this.onFrame(type, flags, stream, payload)
        if (type === FRAME.settings) resolve()
      },
    })
    this.#socket.on('data', (chunk: Buffer) => {
      try {
        decoder.push(chunk)
      } catch (error) {
        this.#socket.destroy(error instanceof Error ? error : new Error('bad frame'))
      }
    })
    let failure: Error | undefined
    this.#socket.on('error', (error) => {
      failure = error
    })
    this.#socket.once('close', () => {
      const error = failure ?? new Error('session was closed')
      reject(error)
      for (const tunnel of this.#tunnels.values()) tunnel.listener.onClose?.(error)
    })
    this.#socket.once('end', () => this.#socket.destroy())
    this.#socket.on('drain', () => this.#resume())
    this.send(PREFACE)
    this.send(
      encodeSettings([
        [SETTING.enablePush, 0],
        [SETTING.initialWindow, STREAM_WINDOW_BYTES],
      ]),
    )
    this.send(encodeWindowUpdate(0, SESSION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES))
    await promise
  }

  open(authority: string, listener: TunnelListener): Tunnel {
    const id = this.#nextStream
    this.#nextStream += 2
    const tunnel = new Http2Tunnel(this, id, this.#streamWindow, listener)
    this.#tunnels.set(id, tunnel)
    this.#waiting.push({ stream: id, block: encodeConnect(authority, this.#access.authorization) })
    this.#sendWaiting()
    return tunnel
  }

  #sendWaiting(): void {
    while (this.#tunnels.size - this.#waiting.length < this.#maxStreams) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.send(encodeFrame(FRAME.headers, FLAG.endHeaders, next.stream, next.block))
    }
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Queues a frame; all frames of one turn leave in one write. */
  send(frame: Buffer): void {
    if (this.#output.length === 0) process.nextTick(this.#flush)
    this.#output.push(frame)
    this.#outputBytes += frame.length
  }

  readonly #flush = (): void => {
    const writable = this.#socket.write(Buffer.concat(this.#output, this.#outputBytes))
    this.#output = []
    this.#outputBytes = 0
    if (writable) this.#resume()
  }

  #resume(): void {
    for (const tunnel of this.#blocked) if (this.pump(tunnel)) tunnel.listener.onDrain?.()
  }

  /** Sends what windows and socket allow of what the tunnel holds; true when nothing is left. */
  pump(tunnel: Http2Tunnel): boolean {
    for (;;) {
      const chunk = tunnel.pending[0]
      if (chunk === undefined) {
        this.#blocked.delete(tunnel)
        return true
      }
      const room = Math.min(MAX_FRAME_BYTES, tunnel.sendWindow, this.#sessionWindow)
      if (room <= 0 || this.#outputBytes >= OUTPUT_LIMIT_BYTES || this.#socket.writableNeedDrain) {
        this.#blocked.add(tunnel)
        return false
      }
      const part = chunk.length <= room ? chunk : chunk.subarray(0, room)
      if (part === chunk) tunnel.pending.shift()
      else tunnel.pending[0] = chunk.subarray(room)
      tunnel.sendWindow -= part.length
      this.#sessionWindow -= part.length
      this.send(encodeFrameHeader(part.length, FRAME.data, 0, tunnel.id))
      this.send(part)
    }
  }

  onDataPart(stream: number, part: Buffer): void {
    this.#received += part.length
    if (this.#received >= SESSION_WINDOW_BYTES / 4) {
      this.send(encodeWindowUpdate(0, this.#received))
      this.#received = 0
    }
    this.#tunnels.get(stream)?.onData(part)
  }

  onFrame(type: number, flags: number, stream: number, payload: Buffer): void {
    const tunnel = this.#tunnels.get(stream)
    switch (type) {
      case FRAME.data:
        if (flags & FLAG.padded) throw new Error('padding is not understood')
        if (flags & FLAG.endStream) tunnel?.onEnd()
        return
      case FRAME.headers:
        tunnel?.onHeaders(flags, payload)
        return
      case FRAME.rstStream:
        tunnel?.close(new Error(`stream was reset with ${payload.readUInt32BE()}`))
        return
      case FRAME.settings:
        if (!(flags & FLAG.ack)) this.#onSettings(payload)
        return
      case FRAME.ping:
        if (!(flags & FLAG.ack)) this.send(encodeFrame(FRAME.ping, FLAG.ack, 0, payload))
        return
      case FRAME.goaway:
        this.#socket.destroy(new Error(`GOAWAY with ${payload.readUInt32BE(4)}`))
        return
      case FRAME.windowUpdate:
        this.#onWindowUpdate(tunnel, stream, payload.readUInt32BE())
    }
  }

  #onSettings(payload: Buffer): void {
    for (let offset = 0; offset + 6 <= payload.length; offset += 6) {
      const setting = payload.readUInt16BE(offset)
      const value = payload.readUInt32BE(offset + 2)
      if (setting === SETTING.maxStreams) this.#maxStreams = value
      if (setting !== SETTING.initialWindow) continue
      for (const tunnel of this.#tunnels.values()) tunnel.sendWindow += value - this.#streamWindow
      this.#streamWindow = value
    }
    this.send(encodeFrameHeader(0, FRAME.settings, FLAG.ack, 0))
    this.#sendWaiting()
    this.#resume()
  }

  #onWindowUpdate(tunnel: Http2Tunnel | undefined, stream: number, increment: number): void {
    if (stream === 0) {
      this.#sessionWindow += increment
      this.#resume()
    } else if (tunnel !== undefined) {
      tunnel.sendWindow += increment
      if (this.#blocked.has(tunnel) && this.pump(tunnel)) tunnel.listener.onDrain?.()
    }
  }

  forget(tunnel: Http2Tunnel): void {
    this.#tunnels.delete(tunnel.id)
    this.#blocked.delete(tunnel)
    this.#sendWaiting()
  }
}

class Http2Tunnel implements Tunnel {
  readonly id: number
  readonly listener: TunnelListener
  readonly pending: Buffer[] = []
  sendWindow: number
  readonly #client: Http2Client
  #received = 0
  #open = false
  #ended = false
  #remoteEnded = false

  constructor(client: Http2Client, id: number, sendWindow: number, listener: TunnelListener) {
    this.#client = client
    this.id = id
    this.sendWindow = sendWindow
    this.listener = listener
  }

  write(chunk: Buffer): boolean {
    this.pending.push(chunk)
    return this.#client.pump(this)
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#client.send(encodeFrameHeader(0, FRAME.data, FLAG.endStream, this.id))
    if (this.#remoteEnded) this.close()
  }

  onHeaders(flags: number, block: Buffer): void {
    if (!this.#open) {
      this.#open = isStatus200(block)
      if (!this.#open) return this.close(new Error('answer is not 200'))
      this.listener.onOpen?.()
    }
    if (flags & FLAG.endStream) this.onEnd()
  }

  onData(part: Buffer): void {
    this.#received += part.length
    if (this.#received >= STREAM_WINDOW_BYTES / 4) {
      this.#client.send(encodeWindowUpdate(this.id, this.#received))
      this.#received = 0
    }
    this.listener.onData?.(part)
  }

  onEnd(): void {
    this.#remoteEnded = true
    this.listener.onEnd?.()
    if (this.#ended) this.close()
  }

  close(error?: Error): void {
    this.#client.forget(this)
    this.listener.onClose?.(error)
  }
}
