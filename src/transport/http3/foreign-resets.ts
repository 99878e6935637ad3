/**
 * RESET events of the addon that name a different session from the one they mean. They need several native threads,
 * which there are only where `one-thread.ts` changes nothing: on other systems than Linux.
 */

/** Above this bit, a session handle contains the number of its native thread. */
export const THREAD_SHIFT = 20
const LOCAL_HANDLE_MASK = (1 << THREAD_SHIFT) - 1

/**
 * Closing a stream that still had bytes to write makes the addon report a RESET without the thread's number in the
 * session, so it would name another client's stream. Such an event is expected between the close and its mark.
 */
export class ForeignResets {
  readonly #expected = new Map<string, number>()

  expect(session: number, stream: number, code: number): void {
    this.#expected.set(keyOf(session, stream), code)
  }

  forget(session: number, stream: number): void {
    if (this.#expected.size > 0) this.#expected.delete(keyOf(session, stream))
  }

  /** True when the event belongs to a close of ours on another thread. */
  match(session: number, stream: number, code: number | undefined): boolean {
    const key = keyOf(session, stream)
    if (this.#expected.size === 0 || this.#expected.get(key) !== code) return false
    return this.#expected.delete(key)
  }
}

function keyOf(session: number, stream: number): string {
  return `${session & LOCAL_HANDLE_MASK}:${stream}`
}
