/**
 * Blocks of memory that target sockets are read into, reused once their contents have been written. Without it every
 * read of 64 KiB is external memory of its own, and V8 collects the whole heap for it: a fifth of the CPU time of a
 * download. All sockets of a lane share one buffer that the system reads into, so an idle one holds nothing.
 */
import type { OnReadOpts, Socket } from 'node:net'
import type { TcpEnd } from '../contract/stream-end.ts'
import { tcpEnd } from './tcp-end.ts'

const BLOCK_BYTES = 65_536
/** Reads smaller than this are cheaper as an ordinary buffer from Node's own pool. */
const SMALL_BYTES = 4096
/** Blocks kept for later reads: 16 MiB. */
const MAX_FREE_BLOCKS = 256

export class ReadPool {
  readonly #shared = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  readonly #free: ArrayBuffer[] = []
  readonly #blocks = new WeakSet<ArrayBufferLike>()

  /** The `onread` option for a socket that does not exist yet. Backpressure works as for any stream. */
  readInto(socket: () => Socket): OnReadOpts {
    return { buffer: this.#shared, callback: (bytes) => socket().push(this.#copy(bytes)) }
  }

  /** `socket`, which is read into this pool and has an error listener, as an end that gives its chunks back. */
  endOf(socket: Socket): TcpEnd {
    return { ...tcpEnd(socket), recycle: (chunk) => this.recycle(chunk) }
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
