/**
 * A piece of what was received, for whoever keeps it. A piece refers to all that was read with it: a client that puts one
 * byte for a slow target into each record of TLS would fill the memory with the rest of those records, which nobody
 * counts.
 */

/** From here on a piece may keep the rest: a record of TLS has four times as much. */
const COPY_BELOW_BYTES = 4096

/** Nothing that is kept refers to more than four times its size. */
export function keptPiece(piece: Buffer): Buffer {
  if (piece.length >= COPY_BELOW_BYTES || piece.buffer.byteLength <= 4 * piece.length) return piece
  // Not from Node's pool, whose blocks live as long as the last piece of each.
  const copy = Buffer.allocUnsafeSlow(piece.length)
  piece.copy(copy)
  return copy
}
