/**
 * Looks at the first bytes of a socket without taking them: what was read goes back by `unshift`, so that whoever
 * comes next (TLS, another server) finds the connection untouched.
 */
import type { Socket } from 'node:net'

/** Says what `fresh`, the newest of `all`, decides; undefined to wait for more. Must decide before its own limit. */
export type Judge<Verdict> = (all: Buffer, fresh: Buffer) => Verdict | undefined

export interface ReadAheadResult<Verdict> {
  readonly verdict: Verdict
  /** All that was read; none of it is in the socket now. */
  readonly bytes: Buffer
}

/** Bytes that arrive in many pieces are collected in a buffer that grows by doubling from this size. */
const INITIAL_BUFFER_BYTES = 2048

/**
 * Reads until `judge` decides, then calls `onVerdict` once with the socket detached; the caller puts back what is
 * to be put back. `onEnded` is called instead when the peer's side ends first.
 * @returns stops reading; neither callback is called then.
 */
export function readAhead<Verdict>(
  socket: Socket,
  judge: Judge<Verdict>,
  onVerdict: (result: ReadAheadResult<Verdict>) => void,
  onEnded: () => void,
): () => void {
  let buffer: Buffer | undefined
  let length = 0

  /** All bytes so far. The first piece is not copied: mostly it is the only one. */
  const collect = (fresh: Buffer): Buffer => {
    const needed = length + fresh.length
    if (buffer === undefined) {
      buffer = fresh
    } else {
      if (needed > buffer.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * length, INITIAL_BUFFER_BYTES))
        buffer.copy(larger, 0, 0, length)
        buffer = larger
      }
      fresh.copy(buffer, length)
    }
    length = needed
    return buffer.subarray(0, length)
  }

  let stopped = false
  const stop = (): void => {
    stopped = true
    socket.off('readable', onReadable)
    socket.off('end', onEnd)
    socket.off('close', onEnd)
  }
  const onEnd = (): void => {
    // A listener that is removed while its event runs is called all the same.
    if (stopped) return
    stop()
    onEnded()
  }
  const onReadable = (): void => {
    if (stopped) return
    const fresh = socket.read() as Buffer | null
    if (fresh === null) return
    const bytes = collect(fresh)
    const verdict = judge(bytes, fresh)
    if (verdict === undefined) return
    stop()
    onVerdict({ verdict, bytes })
  }
  socket.on('readable', onReadable)
  socket.once('end', onEnd)
  socket.once('close', onEnd)
  return stop
}
