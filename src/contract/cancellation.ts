/**
 * Whether work for somebody is still wanted: the part of an `AbortSignal` that a dial needs. A transport that can tell
 * without one saves a tunnel its signal, with controller, map and listeners.
 */
export interface Cancellation {
  readonly aborted: boolean
  /** `listener` is told once, when {@link aborted} becomes true. One listener at a time. */
  addEventListener(type: 'abort', listener: CancellationListener): void
  removeEventListener(type: 'abort', listener: CancellationListener): void
}

export interface CancellationListener {
  handleEvent(): void
}
