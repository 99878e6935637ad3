/**
 * Blocks of memory in which the output of a session is put together, frame headers and payload in place, so that one
 * write of TLS carries it. Shared by all sessions of a lane: an idle session holds none.
 *
 * A larger block makes a fast session cheaper (256 KiB 0.92, 128 KiB 1.03, 64 KiB 1.24 CPU-seconds per GiB in a download
 * with 8 streams), but a slow client holds what is being written to it; so large blocks are for users' sessions that have
 * shown that they empty them, and for a limited number of those at a time.
 */

/** One record of TLS (RFC 8446 section 5.1). */
export const RECORD_BYTES = 16_384
/** What a block has beyond its records, for small frames that go first. */
export const SLAB_HEAD_BYTES = 512
export const SMALL_SLAB_BYTES = SLAB_HEAD_BYTES + 2 * RECORD_BYTES
export const LARGE_SLAB_BYTES = SLAB_HEAD_BYTES + 16 * RECORD_BYTES
/** Large blocks in use at one time: 32 MiB. */
const MAX_LARGE_IN_USE = 128
/** When blocks of so many bytes are in use, sessions have to do with less. */
const SCARCE_BYTES = 67_108_864
/** Blocks kept for later: 8 MiB and 1 MiB. */
const MAX_FREE = { large: 32, small: 32 } as const

export class SlabPool {
  readonly #large: Buffer[] = []
  readonly #small: Buffer[] = []
  #largeInUse = 0
  #bytesInUse = 0

  /** Nobody should take more than needed. */
  get isScarce(): boolean {
    return this.#bytesInUse > SCARCE_BYTES
  }

  /** A block of {@link LARGE_SLAB_BYTES} if one is wanted and may be had, else of {@link SMALL_SLAB_BYTES}. */
  take(wantsLarge: boolean): Buffer {
    if (wantsLarge && this.#largeInUse < MAX_LARGE_IN_USE) {
      this.#largeInUse++
      this.#bytesInUse += LARGE_SLAB_BYTES
      return this.#large.pop() ?? Buffer.allocUnsafeSlow(LARGE_SLAB_BYTES)
    }
    this.#bytesInUse += SMALL_SLAB_BYTES
    return this.#small.pop() ?? Buffer.allocUnsafeSlow(SMALL_SLAB_BYTES)
  }

  /** Takes back a block that nobody looks at any more. */
  give(slab: Buffer): void {
    const large = slab.length === LARGE_SLAB_BYTES
    this.discard(slab)
    const free = large ? this.#large : this.#small
    if (free.length < (large ? MAX_FREE.large : MAX_FREE.small)) free.push(slab)
  }

  /** Call it instead of {@link give} for a block that somebody may still be looking at. */
  discard(slab: Buffer): void {
    this.#bytesInUse -= slab.length
    if (slab.length === LARGE_SLAB_BYTES) this.#largeInUse--
  }
}
