/** A pool of blocks that knows which of them are out, and finds one that is given back twice. */
import { SlabPool } from '../../../../src/transport/slab-pool.ts'

export class CountingPool extends SlabPool {
  readonly out = new Set<Buffer>()
  taken = 0
  discarded = 0
  #giving = false

  override take(wantsLarge: boolean): Buffer {
    const slab = super.take(wantsLarge)
    if (this.out.has(slab)) throw new Error('a block was given out twice')
    this.out.add(slab)
    this.taken++
    return slab
  }

  override give(slab: Buffer): void {
    this.#remove(slab)
    // Whoever still writes into it or from it would be found out.
    slab.fill(0xdd)
    this.#giving = true
    super.give(slab)
    this.#giving = false
  }

  override discard(slab: Buffer): void {
    if (!this.#giving) {
      this.#remove(slab)
      this.discarded++
    }
    super.discard(slab)
  }

  #remove(slab: Buffer): void {
    if (!this.out.delete(slab)) throw new Error('a block was given back that was not out')
  }
}
