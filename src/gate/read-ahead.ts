/**
 * Looks at the first bytes of a socket that nobody reads yet. A socket hands everything that arrives to its own `push`
 * (Node's lib/internal/stream_base_commons.js, onStreamRead); while we look, that is ours. Reading by 'readable' and
 * `read` costs half as much again for the whole of the gate.
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
 * Reads until `judge` decides, then calls `onVerdict` once with the socket as it was; the caller puts back whatever
 * belongs back (`unshift`), so that whoever comes next finds the connection untouched. `onEnded` is called instead when
 * the peer ends its side first. Neither is called within the call.
 * @returns a function that stops the reading; neither callback is called after it.
 */
export function readAhead<Verdict>(
  socket: Socket,
  judge: Judge<Verdict>,
  onVerdict: (result: ReadAheadResult<Verdict>) => void,
  onEnded: () => void,
): () => void {
  const beginning = new Beginning()
  // oxlint-disable-next-line typescript/unbound-method -- it only goes back to where it was taken from
  const { push } = socket
  let stopped = false
  const stop = (): void => {
    stopped = true
    // Not deleted: V8 keeps an object that has lost a property in a slower form.
    socket.push = push
  }
  const take = (fresh: Buffer): void => {
    const bytes = beginning.add(fresh)
    const verdict = judge(bytes, fresh)
    if (verdict === undefined) return
    stop()
    onVerdict({ verdict, bytes })
  }
  socket.push = (chunk: Buffer | null): boolean => {
    if (chunk !== null) {
      take(chunk)
      // Go on reading; who gets the socket stops that if it wants to.
      return true
    }
    stop()
    onEnded()
    return socket.push(null)
  }
  // What somebody has read and put back.
  if (socket.readableLength > 0) {
    process.nextTick(() => {
      if (!stopped) take(socket.read() as Buffer)
    })
  }
  return stop
}

/** All bytes so far. The first piece is not copied: usually it is the only one. */
class Beginning {
  #buffer: Buffer | undefined
  #length = 0

  add(fresh: Buffer): Buffer {
    const needed = this.#length + fresh.length
    this.#buffer = this.#buffer === undefined ? fresh : this.#append(this.#buffer, fresh, needed)
    this.#length = needed
    return this.#buffer.subarray(0, needed)
  }

  #append(buffer: Buffer, fresh: Buffer, needed: number): Buffer {
    let target = buffer
    if (needed > buffer.length) {
      target = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#length, INITIAL_BUFFER_BYTES))
      buffer.copy(target, 0, 0, this.#length)
    }
    fresh.copy(target, this.#length)
    return target
  }
}
