/**
 * What target sockets are read into: one buffer for all of a lane, so that an idle socket holds nothing. Whoever reads a
 * socket with `readWith` sees that buffer itself; for everybody else its contents are copied into blocks that are used
 * again once they have been written. Without those every read of 64 KiB is external memory of its own, and V8 collects
 * the whole heap for it: a fifth of the CPU time of a download.
 */
import type { OnReadOpts, Socket } from 'node:net'
import type { TcpEnd } from '../contract/stream-end.ts'
import type { TargetReader } from '../contract/tunnel-stream.ts'
import { SocketEnd } from './tcp-end.ts'

/** Four DATA frames of HTTP/2 that fill a record of TLS each, with their heads of 9 bytes. */
const BLOCK_BYTES = 4 * 16_375
/** Reads smaller than this are cheaper as an ordinary buffer from Node's own pool. */
const SMALL_BYTES = 4096
/** Blocks kept for later reads: 16 MiB. */
const MAX_FREE_BLOCKS = 256

const READER = Symbol('reader')

interface PooledSocket extends Socket {
  [READER]?: TargetReader
}

export class ReadPool {
  /** The `onread` option of all sockets that are read into this pool. Backpressure works as for any stream. */
  readonly onread: OnReadOpts
  readonly #shared = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  readonly #free: ArrayBuffer[] = []
  readonly #blocks = new WeakSet<ArrayBufferLike>()

  constructor() {
    const shared = this.#shared
    const copy = (bytes: number): Buffer => this.#copy(bytes)
    this.onread = {
      buffer: shared,
      // Node calls it on the socket (`onStreamRead` in lib/internal/stream_base_commons.js).
      callback(this: PooledSocket, bytes: number): boolean {
        const reader = this[READER]
        return reader === undefined ? this.push(copy(bytes)) : reader.onTargetData(shared, bytes)
      },
    }
  }

  /** `socket`, which was opened with {@link onread} and has an error listener, as an end of a relay. */
  endOf(socket: Socket): TcpEnd {
    return new PooledEnd(socket, this)
  }

  /** Takes back a chunk that nobody will look at again; a chunk from elsewhere is ignored. */
  recycle(chunk: Buffer): void {
    const { buffer } = chunk
    if (this.#blocks.has(buffer) && this.#free.length < MAX_FREE_BLOCKS)
      this.#free.push(buffer as ArrayBuffer)
  }

  #copy(bytes: number): Buffer {
    const chunk = bytes <= SMALL_BYTES ? Buffer.allocUnsafe(bytes) : Buffer.from(this.#takeBlock(), 0, bytes)
    this.#shared.copy(chunk, 0, 0, bytes)
    return chunk
  }

  #takeBlock(): ArrayBuffer {
    const free = this.#free.pop()
    if (free !== undefined) return free
    const block = new ArrayBuffer(BLOCK_BYTES)
    this.#blocks.add(block)
    return block
  }
}

/** An end that gives its chunks back, or does without any. */
class PooledEnd extends SocketEnd {
  readonly #pool: ReadPool

  constructor(socket: Socket, pool: ReadPool) {
    super(socket)
    this.#pool = pool
  }

  recycle(chunk: Buffer): void {
    this.#pool.recycle(chunk)
  }

  readWith(reader: TargetReader): void {
    const socket: PooledSocket = this.io
    socket[READER] = reader
    // All that is buffered. An EOF behind it is emitted in the next tick, even if the reader has no room now.
    const early = socket.read() as Buffer | null
    if (early === null) return
    if (!reader.onTargetData(early, early.length)) socket.pause()
    this.#pool.recycle(early)
  }
}
