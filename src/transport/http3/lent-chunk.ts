/** Memory of the HTTP/3 addon: each event with content lends 16 to 64 KiB of it, however few bytes are used. */

/** Chunks that have not been given back. */
const lent = new WeakSet<Buffer>()

/** Call it for chunks that come from the addon, and for nothing else. */
export function lendChunk(chunk: Buffer): void {
  lent.add(chunk)
}

/**
 * Gives the memory back at once instead of at the next garbage collection. Nobody may look at the chunk afterwards.
 * Other buffers, including parts of lent ones, are left alone.
 */
export function releaseChunk(chunk: Buffer): void {
  if (!lent.delete(chunk)) return
  const { buffer, byteOffset, length } = chunk
  // Where the runtime forbids external memory the addon copies, perhaps into memory that is shared.
  if (byteOffset === 0 && buffer.byteLength === length && buffer instanceof ArrayBuffer) buffer.transfer(0)
}
