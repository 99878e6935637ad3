/**
 * What HTTP/3 needs to hold uploads that arrive faster than their targets take them. `lane/rooms.ts` passes in the
 * spill area of `relay`.
 */
import type { TotalLabel } from '../../counters.ts'

/** Why an upload was given up. */
export type UploadOverflow = TotalLabel<'spill_overflows'>

export interface UploadListener {
  /** `read` has something again. */
  onReadable(): void
  /** The bytes are lost. `stranger`: nobody had authenticated, and there was too little memory. */
  onOverflow(reason: UploadOverflow): void
}

/** The bytes of one stream, in order. */
export interface UploadBuffer {
  /** True when nothing is held. */
  readonly empty: boolean
  /**
   * Takes a copy of `chunk`. A chunk that comes with `giveBack` may be kept instead of copied: then `read` hands it on
   * as it is, or it is given back.
   */
  write(chunk: Buffer, giveBack?: (chunk: Buffer) => void): void
  /**
   * The next bytes; undefined when there are none at hand. In that case, unless the buffer is `empty`, `onReadable`
   * follows.
   */
  read(): Buffer | undefined
  destroy(): void
}

export interface UploadStore {
  /** `key` names whose share of the disk is used; while it is undefined, none is. */
  open(key: () => string | undefined, listener: UploadListener): UploadBuffer
  /** More is on its way than the store can take at once. */
  readonly congested: boolean
  /** Calls `run` once when that is over. */
  onRelief(run: () => void): void
}
