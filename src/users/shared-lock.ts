/**
 * Mutual exclusion between threads, in one cell of shared memory. The cell names the owner: what a thread held when it
 * died can be opened again. Held for a few instructions at a time, never across anything that could throw or wait.
 */

const FREE = 0
/** Attempts before the thread sleeps: a section takes less than a microsecond. */
const SPINS = 200
/** Only when the owner has lost its processor, or has died and nobody has noticed yet. */
const SLEEP_MS = 1

/** Lanes count from 0. */
const ownerOf = (lane: number): number => lane + 1

/** Waits until the lock at `cells[at]` is `lane`'s. A lane that has it already waits for ever. */
export function lock(cells: Int32Array, at: number, lane: number): void {
  const owner = ownerOf(lane)
  for (let attempt = 1; ; attempt++) {
    const holder = Atomics.compareExchange(cells, at, FREE, owner)
    if (holder === FREE) return
    if (attempt % SPINS === 0) Atomics.wait(cells, at, holder, SLEEP_MS)
  }
}

export function unlock(cells: Int32Array, at: number): void {
  Atomics.store(cells, at, FREE)
}

/** Opens the lock if `lane`, whose thread has ended, died with it. */
export function unlockAfter(lane: number, cells: Int32Array, at: number): void {
  Atomics.compareExchange(cells, at, ownerOf(lane), FREE)
}
