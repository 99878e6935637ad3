/** Reading streams in tests. */
import type { Readable } from 'node:stream'

/**
 * Everything up to the end. Rejects when the stream is destroyed before. Leaves the other direction as it is, which
 * iterating over the stream would not.
 */
export function readAll(stream: Readable): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  const onClose = (): void => reject(new Error('closed before the end'))
  if (stream.readableEnded) resolve(Buffer.alloc(0))
  else if (stream.destroyed) onClose()
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.once('end', () => resolve(Buffer.concat(chunks)))
  stream.once('close', onClose)
  stream.resume()
  return promise
}

/** At least `bytes` bytes, all that arrived by then; the stream can be read on. */
export function readBytes(stream: Readable, bytes: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let received = 0
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk)
    received += chunk.length
    if (received >= bytes) settle(() => resolve(Buffer.concat(chunks)))
  }
  const onClose = (): void => settle(() => reject(new Error(`closed after ${received} of ${bytes} bytes`)))
  const settle = (finish: () => void): void => {
    stream.off('data', onData)
    stream.off('close', onClose)
    stream.pause()
    finish()
  }
  stream.on('data', onData)
  stream.on('close', onClose)
  stream.resume()
  return promise
}
