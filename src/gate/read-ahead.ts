/**
 * Looks at the first bytes of a socket without consuming them: what was read goes back by `unshift`, so that whoever
 * comes next (TLS, another server) finds the connection untouched.
 */
import type { Socket } from 'node:net'

/**
 * Decides from all bytes so far, of which `fresh` is the newest part; undefined means wait for more. Must reach a
 * decision at some size of its own, since nothing else bounds the reading.
 */
type Judge<Verdict> = (all: Buffer, fresh: Buffer) => Verdict | undefined

interface ReadAheadResult<Verdict> {
  readonly verdict: Verdict
  /** Everything that was read; none of it is in the socket now. */
  readonly bytes: Buffer
}

/** Bytes that arrive in many pieces are collected in a buffer that grows by doubling from this size. */
const INITIAL_BUFFER_BYTES = 2048

/**
 * Reads until `judge` decides, then calls `onVerdict` once with the socket detached; the caller puts back whatever
 * belongs back. `onEnded` is called instead when the peer ends its side first.
 * @returns a function that stops the reading; neither callback is called after it.
 */
export function readAhead<Verdict>(
  socket: Socket,
  judge: Judge<Verdict>,
  onVerdict: (result: ReadAheadResult<Verdict>) => void,
  onEnded: () => void,
): () => void {
  let buffer: Buffer | undefined
  let length = 0

  /** All bytes so far. The first piece is not copied: usually it is the only one. */
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
    // A listener that is removed while its event is being emitted is still called.
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
