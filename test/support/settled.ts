/** Waits for something that no event announces. */
import { setImmediate as turn } from 'node:timers/promises'

const PATIENCE_MS = 10_000

/** Resolves when `holds` returns true; rejects after ten seconds. */
export async function settled(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`never came true: ${holds.toString()}`)
    await turn()
  }
}
