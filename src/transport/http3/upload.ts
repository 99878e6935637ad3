/** What HTTP/3 needs to hold uploads that are read faster than their targets take them. `lane/rooms.ts` gives the spill area of `relay`. */

export interface UploadListener {
  /** `read` has something again. */
  onReadable(): void
  /** The bytes are lost: the stream must be reset. */
  onOverflow(reason: string): void
}

/** The bytes of one stream, in order. */
export interface UploadBuffer {
  /** Nothing is held. */
  readonly empty: boolean
  /** Copies `chunk`. */
  write(chunk: Buffer): void
  /** The next bytes; undefined when there are none at hand. Then, unless it is `empty`, `onReadable` follows. */
  read(): Buffer | undefined
  destroy(): void
}

export interface UploadStore {
  /** `key` names whose share it is, and is asked for when a share is needed: by then the request is authenticated. */
  open(key: () => string, listener: UploadListener): UploadBuffer
  /** More is on its way than the store can take at once. */
  readonly congested: boolean
  /** Calls `run` once when that is over. */
  onRelief(run: () => void): void
}
