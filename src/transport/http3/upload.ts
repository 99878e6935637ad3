/** What HTTP/3 needs to hold uploads that are read faster than their targets take them. `lane/rooms.ts` gives the spill area of `relay`. */

export type UploadOverflow = 'stranger' | 'budget' | 'disk_slow' | 'disk_failed'

export interface UploadListener {
  /** `read` has something again. */
  onReadable(): void
  /** The bytes are lost. `stranger`: nobody has authenticated, and there was too little memory. */
  onOverflow(reason: UploadOverflow): void
}

/** The bytes of one stream, in order. */
export interface UploadBuffer {
  /** Nothing is held. */
  readonly empty: boolean
  /**
   * Copies `chunk`. One that comes with `giveBack` may be kept itself: then it is handed on as it is by `read`, or
   * given back.
   */
  write(chunk: Buffer, giveBack?: (chunk: Buffer) => void): void
  /** The next bytes; undefined when there are none at hand. Then, unless it is `empty`, `onReadable` follows. */
  read(): Buffer | undefined
  destroy(): void
}

export interface UploadStore {
  /** `key` names whose share of the disk it is: nobody's, and so none, while it is undefined. */
  open(key: () => string | undefined, listener: UploadListener): UploadBuffer
  /** More is on its way than the store can take at once. */
  readonly congested: boolean
  /** Calls `run` once when that is over. */
  onRelief(run: () => void): void
}
