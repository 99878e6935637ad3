/** Reads streams in tests. */
import type { Readable } from 'node:stream'

/**
 * Everything up to the end. Rejects when the stream is destroyed first. Unlike iterating over the stream, it leaves the
 * other direction alone.
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

/** At least `bytes` bytes, together with everything else that has arrived by then; the stream stays readable. */
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
