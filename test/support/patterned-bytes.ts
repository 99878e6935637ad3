/** Endless bytes that reveal their own position, so that lost, repeated or swapped data is noticed. */
import { createHash } from 'node:crypto'
import type { Readable, Writable } from 'node:stream'

const CHUNK_BYTES = 65_536

/** Bytes `offset` to `offset + length` of an endless count in 32-bit words. */
export function patternedBytes(offset: number, length: number): Buffer {
  const first = Math.floor(offset / 4)
  const words = Buffer.allocUnsafe(4 * (Math.ceil((offset + length) / 4) - first))
  for (let index = 0; index < words.length / 4; index++) words.writeUInt32BE((first + index) >>> 0, 4 * index)
  return words.subarray(offset - 4 * first, offset - 4 * first + length)
}

export interface Sending {
  /** Bytes that the stream has taken, including those it still buffers. */
  readonly taken: number
  /** Resolves when everything was written and the stream was ended, or when the stream has closed. */
  readonly done: Promise<void>
}

/** Writes the first `total` bytes as fast as the stream takes them, then ends it. */
export function sendPattern(stream: Writable, total: number): Sending {
  const { promise, resolve } = Promise.withResolvers<void>()
  let taken = 0
  const write = (): void => {
    while (taken < total && !stream.destroyed) {
      const chunk = patternedBytes(taken, Math.min(CHUNK_BYTES, total - taken))
      taken += chunk.length
      if (!stream.write(chunk)) return
    }
    stream.off('drain', write)
    if (!stream.destroyed) stream.end()
    resolve()
  }
  stream.on('drain', write)
  stream.once('close', resolve)
  write()
  return {
    get taken() {
      return taken
    },
    done: promise,
  }
}

export function hashOfPattern(total: number): string {
  const hash = createHash('sha1')
  for (let offset = 0; offset < total; offset += CHUNK_BYTES)
    hash.update(patternedBytes(offset, Math.min(CHUNK_BYTES, total - offset)))
  return hash.digest('hex')
}

/** Reads to the end, even if the stream was paused before. Rejects when the stream closes without an end. */
export function hashOf(stream: Readable): Promise<{ bytes: number; hash: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ bytes: number; hash: string }>()
  const hash = createHash('sha1')
  let bytes = 0
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    hash.update(chunk)
  })
  stream.once('end', () => resolve({ bytes, hash: hash.digest('hex') }))
  stream.once('close', () => reject(new Error(`closed after ${bytes} bytes`)))
  stream.resume()
  return promise
}

/** Resolves when `read` has returned the same value for a while, so that nothing is moving any more. */
export async function standstill(read: () => number): Promise<number> {
  for (let last = read(), calm = 0; ;) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    const now = read()
    calm = now === last ? calm + 1 : 0
    last = now
    if (calm === 10) return now
  }
}
