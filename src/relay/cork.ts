/**
 * One write for everything that a turn of the event loop brings. A DATA frame is at most 16 KiB, and the frames of one
 * TLS read then share a writev: 1.2-1.5 CPU-seconds per GiB of upload instead of 1.4-1.9. Uncorking in nextTick, and
 * corking towards the client, were slower.
 */
import type { Writable } from 'node:stream'

/** A chunk as large as this is worth a write of its own. */
const BATCH_BELOW_BYTES = 32_768

interface Corked {
  readonly stream: Writable
  readonly writer: TurnEnd | undefined
}

/** Told when what it wrote in a turn has been handed on. */
export interface TurnEnd {
  onTurnEnd(): void
}

let corked: Corked[] = []

function uncorkAll(): void {
  const turn = corked
  corked = []
  for (const { stream, writer } of turn) {
    stream.uncork()
    writer?.onTurnEnd()
  }
}

/**
 * Call before a chunk of `bytes` is written: what is written to `stream` in this turn leaves at its end, and `writer` is
 * told. False when this chunk leaves at once.
 */
export function corkForTurn(stream: Writable, bytes: number, writer?: TurnEnd): boolean {
  if (stream.writableCorked > 0) return true
  if (bytes >= BATCH_BELOW_BYTES) return false
  stream.cork()
  if (corked.push({ stream, writer }) === 1) setImmediate(uncorkAll)
  return true
}
