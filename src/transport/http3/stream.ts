/**
 * The bytes of one HTTP/3 stream: a request's content or a tunnel's uplink to read, a response's content or a tunnel's
 * downlink to write. Reading: the addon reads ahead without limit, so whatever nobody wants yet goes to the upload
 * store. Writing: pieces go through the stream's send window.
 */
import { Duplex } from 'node:stream'
import type { StreamReset } from '../../contract/stream-end.ts'
import {
  H3_CONNECT_ERROR,
  H3_EXCESSIVE_LOAD,
  H3_INTERNAL_ERROR,
  H3_MESSAGE_ERROR,
  H3_NO_ERROR,
  H3_REQUEST_CANCELLED,
} from './error-codes.ts'
import { releaseChunk } from './lent-chunk.ts'
import type { UploadBuffer, UploadListener, UploadOverflow } from './upload.ts'
import { MAX_PIECE_BYTES } from './send-window.ts'
import type { SendOwner, SendWindow } from './send-window.ts'
import type { Speaker } from './silence.ts'

const RESET_CODES: Record<StreamReset, number> = {
  no_error: H3_NO_ERROR,
  cancel: H3_REQUEST_CANCELLED,
  connect_error: H3_CONNECT_ERROR,
  excessive_load: H3_EXCESSIVE_LOAD,
  internal_error: H3_INTERNAL_ERROR,
}

const HIGH_WATER_MARK_BYTES = 64 * 1024
/** An event of this size or more is handed on as it is; smaller ones are copied together. */
const LARGE_BYTES = 32 * 1024
const EMPTY = Buffer.alloc(0)

/** What a stream asks of its session. */
export interface StreamHost {
  openWindow(stream: number, owner: SendOwner): SendWindow
  openUpload(listener: UploadListener): UploadBuffer
  /** Everything has been sent, and the client's side is still open. */
  onOutputEnd(stream: Speaker): void
  /** The stream is over; its window belongs to the host from now on. Called once. */
  onStreamEnd(stream: Http3Stream, end: StreamOutcome): void
  /** Because of this stream the addon takes nothing from the others. */
  onStreamStuck(stream: number): void
}

export type StreamOutcome =
  | { readonly kind: 'finished' }
  | { readonly kind: 'gone' }
  | { readonly kind: 'reset'; readonly code: number }
  /** The client has not ended its side. */
  | { readonly kind: 'unended' }

export class Http3Stream extends Duplex implements SendOwner, Speaker {
  readonly id: number
  readonly #host: StreamHost
  readonly window: SendWindow
  /** Chunks of the current batch of events that have not been handed on. */
  #arrived: Buffer[] = []
  #upload: UploadBuffer | undefined
  #wanted = false
  /** Somebody has started to read. */
  #read = false
  /** Something was discarded that might have been wanted. */
  #lost = false
  #inputEnded = false
  /** We ended the input, not the client. */
  #silenced = false
  #endPushed = false
  #output: Buffer[] = []
  #offset = 0
  #whenWritten: ((error?: Error | null) => void) | undefined
  #outputEnd: 'open' | 'wanted' | 'sent' = 'open'
  /** Bytes of content written so far. */
  writtenBytes = 0
  #resetCode: number | undefined
  readonly #contentBytes: number | undefined
  /** Bytes of content received so far. */
  receivedBytes = 0
  /** A response has been started. */
  answered = false
  #abandoned = false
  /** Content is read and thrown away. */
  #discarding = false

  /** `contentBytes` is the length that the request declared. */
  constructor(id: number, host: StreamHost, inputEnded: boolean, contentBytes: number | undefined) {
    super({ highWaterMark: HIGH_WATER_MARK_BYTES, allowHalfOpen: true })
    this.id = id
    this.#contentBytes = contentBytes
    this.#host = host
    this.window = host.openWindow(id, this)
    this.#inputEnded = inputEnded
    // `close` without `end` says the same, and whoever destroys the stream with an error knows it already.
    this.on('error', ignoreError)
  }

  /** The client has reset the stream or is gone. */
  get abandoned(): boolean {
    return this.#abandoned
  }

  /** The response was sent completely with its head. */
  endOutput(): void {
    this.#onOutputSent()
    super.end()
  }

  /** Nobody will read what the client sends. */
  discardInput(): void {
    this.#discarding = true
    if (this.#outputEnd === 'sent') this.destroy()
  }

  reset(code: number): void {
    if (this.destroyed) return
    this.#resetCode = code
    this.destroy()
  }

  resetFor(reason: StreamReset): void {
    this.reset(RESET_CODES[reason])
  }

  /** The client has reset the stream, or the session has ended: `close` without `end`. */
  abandon(): void {
    this.#abandoned = true
    this.destroy()
  }

  /** Returns true when {@link flushInput} must be called at the end of the batch. */
  onData(chunk: Buffer): boolean {
    if (this.#discarding || this.#inputEnded || this.destroyed) {
      releaseChunk(chunk)
      return false
    }
    this.receivedBytes += chunk.length
    this.#arrived.push(chunk)
    return this.#arrived.length === 1
  }

  onFinished(): void {
    if (this.#inputEnded) {
      this.#silenced = false
      return
    }
    // RFC 9114 section 4.1.2.
    if (this.#contentBytes !== undefined && this.#contentBytes !== this.receivedBytes && !this.#discarding) {
      return this.reset(H3_MESSAGE_ERROR)
    }
    this.flushInput()
    this.#inputEnded = true
    this.#pushEnd()
  }

  /** Hands on what has arrived in one batch of events. */
  flushInput(): void {
    const chunks = this.#arrived
    if (chunks.length === 0 || this.destroyed) return
    this.#arrived = []
    if (!this.#wanted || this.#upload?.empty === false) return this.#keep(chunks)
    for (const chunk of merge(chunks)) {
      if (this.#wanted) this.#wanted = this.push(chunk)
      else this.#keep([chunk])
    }
  }

  /** Keeps chunks until somebody reads. */
  #keep(chunks: readonly Buffer[]): void {
    // The reader of an earlier chunk may have destroyed the stream.
    if (this.destroyed) return chunks.forEach(releaseChunk)
    this.#upload ??= this.#host.openUpload(this)
    for (const chunk of chunks) {
      if (chunk.length >= LARGE_BYTES) this.#upload.write(chunk, releaseChunk)
      else {
        this.#upload.write(chunk)
        releaseChunk(chunk)
      }
    }
  }

  /** {@link Speaker}: the client has nothing more to say, and will learn that we think so when the stream is over. */
  onSilence(): void {
    if (this.#inputEnded || this.destroyed) return
    this.#inputEnded = true
    this.#silenced = true
    this.#pushEnd()
  }

  #onOutputSent(): void {
    this.#outputEnd = 'sent'
    if (!this.#inputEnded) this.#host.onOutputEnd(this)
  }

  /** {@link UploadBuffer} */
  onReadable(): void {
    if (this.#wanted) this.#feed()
  }

  /** {@link UploadBuffer} */
  onOverflow(reason: UploadOverflow): void {
    if (reason !== 'stranger' || this.#read) return this.reset(H3_EXCESSIVE_LOAD)
    // Most likely a refusal is on its way, and the client should get it.
    this.#discarding = true
    this.#lost = true
  }

  override _read(): void {
    if (this.#lost) return this.reset(H3_EXCESSIVE_LOAD)
    this.#read = true
    this.#wanted = true
    this.#feed()
  }

  #feed(): void {
    while (this.#wanted && this.#upload !== undefined) {
      const chunk = this.#upload.read()
      if (chunk === undefined) break
      this.#wanted = this.push(chunk)
    }
    this.#pushEnd()
  }

  #pushEnd(): void {
    if (!this.#inputEnded || this.#endPushed || this.#upload?.empty === false) return
    this.#endPushed = true
    this.push(null)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#output.push(chunk)
    this.#whenWritten = done
    this.writtenBytes += chunk.length
    this.onSendReady()
  }

  override _writev(
    chunks: { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#output = packWhole(chunks)
    this.#whenWritten = done
    for (const chunk of this.#output) this.writtenBytes += chunk.length
    this.onSendReady()
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#outputEnd === 'sent') return done()
    this.#outputEnd = 'wanted'
    this.#whenWritten = done
    this.onSendReady()
  }

  /** {@link SendWindow}: continues with the output, if there is any. */
  onSendReady(): void {
    if (this.destroyed) return
    while (this.#output.length > 0) {
      if (!this.#sendPiece(this.#output[0] as Buffer)) return
    }
    if (this.#outputEnd === 'wanted') {
      if (!this.window.send(EMPTY, true)) return
      this.#onOutputSent()
    }
    const done = this.#whenWritten
    this.#whenWritten = undefined
    done?.()
  }

  onSendStuck(): void {
    this.#host.onStreamStuck(this.id)
    this.reset(H3_EXCESSIVE_LOAD)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    for (const chunk of this.#arrived) releaseChunk(chunk)
    this.#arrived = []
    this.#output = []
    this.#upload?.destroy()
    this.#host.onStreamEnd(this, this.#conclude())
    const written = this.#whenWritten
    this.#whenWritten = undefined
    done(error)
    written?.(error ?? new Error('stream is closed'))
  }

  #conclude(): StreamOutcome {
    if (this.#abandoned) return { kind: 'gone' }
    if (this.#resetCode !== undefined) return { kind: 'reset', code: this.#resetCode }
    if (this.#outputEnd !== 'sent') return { kind: 'reset', code: H3_REQUEST_CANCELLED }
    if (this.#inputEnded && !this.#silenced) return { kind: 'finished' }
    return { kind: 'unended' }
  }

  /** Sends a part of the oldest chunk. False when it has to wait. */
  #sendPiece(chunk: Buffer): boolean {
    const rest = chunk.length - this.#offset
    // Equal pieces instead of full ones and a small rest.
    const pieceBytes = Math.ceil(rest / Math.ceil(rest / MAX_PIECE_BYTES))
    const whole = pieceBytes === chunk.length
    if (!this.window.send(whole ? chunk : chunk.subarray(this.#offset, this.#offset + pieceBytes), false)) {
      return false
    }
    this.#offset += pieceBytes
    if (this.#offset < chunk.length) return true
    this.#output.shift()
    this.#offset = 0
    return true
  }
}

function ignoreError(): void {}

/**
 * Copies small events into chunks of at most the high-water mark, and gives the addon's memory back. Large ones stay as
 * they are; whoever has written them to the target gives them back.
 */
function merge(chunks: readonly Buffer[]): Buffer[] {
  const merged: Buffer[] = []
  let group: Buffer[] = []
  let bytes = 0
  const close = (): void => {
    if (bytes === 0) return
    merged.push(Buffer.concat(group, bytes))
    for (const chunk of group) releaseChunk(chunk)
    group = []
    bytes = 0
  }
  for (const chunk of chunks) {
    if (chunk.length >= LARGE_BYTES || bytes + chunk.length > HIGH_WATER_MARK_BYTES) close()
    if (chunk.length >= LARGE_BYTES) {
      merged.push(chunk)
      continue
    }
    group.push(chunk)
    bytes += chunk.length
  }
  close()
  return merged
}

/** Puts writes that were waiting together into pieces, splitting none of them unless it is larger than a piece. */
function packWhole(chunks: readonly { chunk: Buffer }[]): Buffer[] {
  const packed: Buffer[] = []
  let group: Buffer[] = []
  let bytes = 0
  for (const { chunk } of chunks) {
    if (bytes + chunk.length > MAX_PIECE_BYTES && group.length > 0) {
      packed.push(group.length === 1 ? (group[0] as Buffer) : Buffer.concat(group, bytes))
      group = []
      bytes = 0
    }
    if (chunk.length === 0) continue
    group.push(chunk)
    bytes += chunk.length
  }
  if (group.length > 0) packed.push(group.length === 1 ? (group[0] as Buffer) : Buffer.concat(group, bytes))
  return packed
}
