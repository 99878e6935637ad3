/** A client over HTTP/2 that sends as much as the endpoint's windows allow, and knows how large they are. */
import { ACK, frame, uint32 } from './http2-frames.ts'
import type { RawHttp2 } from './raw-http2.ts'

const MAX_FRAME_BYTES = 16_384
const CONTENT = Buffer.alloc(MAX_FRAME_BYTES, 'culvert')
/** What Node may keep for the socket before this waits. */
const MAX_WAITING_BYTES = 16_777_216

/** SETTINGS_INITIAL_WINDOW_SIZE with this value. */
export function initialWindow(bytes: number): Buffer {
  return frame('SETTINGS', { payload: Buffer.concat([Buffer.of(0, 4), uint32(bytes)]) })
}

export class Http2Upload {
  readonly stream: number
  /** What may be sent now. */
  window: number
  /** The largest so far, right after it had grown. */
  largestWindow: number
  sentBytes = 0
  readonly #client: RawHttp2
  readonly #totalBytes: number
  /** Frames that have been looked at. */
  #seen: number

  constructor(client: RawHttp2, stream: number, options: { window: number; totalBytes: number }) {
    this.#client = client
    this.stream = stream
    this.window = options.window
    this.largestWindow = options.window
    this.#totalBytes = options.totalBytes
    this.#seen = client.frames.length
  }

  /** Resolves when everything has been sent; the stream stays open. */
  async run(): Promise<void> {
    for (;;) {
      this.#send()
      if (this.sentBytes === this.#totalBytes) return
      await this.#client.frame(() => this.#client.frames.length > this.#seen)
      this.#look()
      // More than one frame comes at a time, and Node's buffer is not to hold all of a window for long.
      if (this.#client.socket.writableLength > MAX_WAITING_BYTES)
        await new Promise((resolve) => this.#client.socket.once('drain', resolve))
    }
  }

  /** Takes what has arrived into account without sending. */
  look(): void {
    this.#look()
  }

  #look(): void {
    for (; this.#seen < this.#client.frames.length; this.#seen++) {
      const received = this.#client.frames[this.#seen]
      // The endpoint measures the way with it.
      if (received?.name === 'PING' && received.flags === 0)
        this.#client.send(frame('PING', { flags: ACK, payload: received.payload }))
      if (received?.name !== 'WINDOW_UPDATE' || received.stream !== this.stream) continue
      this.window += received.payload.readUInt32BE(0)
      this.largestWindow = Math.max(this.largestWindow, this.window)
    }
  }

  #send(): void {
    const bytes = Math.min(this.window, this.#totalBytes - this.sentBytes)
    const frames: Buffer[] = []
    for (let left = bytes; left > 0; left -= MAX_FRAME_BYTES)
      frames.push(
        frame('DATA', { stream: this.stream, payload: CONTENT.subarray(0, Math.min(left, MAX_FRAME_BYTES)) }),
      )
    if (frames.length > 0) this.#client.send(...frames)
    this.window -= bytes
    this.sentBytes += bytes
  }
}
