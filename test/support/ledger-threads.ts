/** Several threads at once on one ledger (`ledger-thread.ts`). */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { createAddressTable } from '../../src/users/address-table.ts'
import { SlotBook } from '../../src/users/slot-book.ts'
import type { LedgerTask } from './ledger-thread.ts'

interface ThreadsReport {
  readonly taken: number
  readonly refused: number
  /** How many places were held at the same time, at most. */
  readonly most: number
}

/** A ledger of a few lanes with one user, alice. */
export function createStage(lanes: number) {
  const book = new SlotBook(lanes)
  book.commit(book.plan(['alice']))
  return { lanes, book, ledger: book.share, addresses: createAddressTable(lanes, 1024) }
}

type Stage = ReturnType<typeof createStage>

/** Runs a task in each of `lanes`, all beginning at the same time. */
export async function runThreads(
  { ledger, addresses }: Stage,
  task: Pick<LedgerTask, 'what' | 'limit' | 'rounds'>,
  lanes: readonly number[],
): Promise<ThreadsReport> {
  const gauge = new SharedArrayBuffer(12)
  const cells = new Int32Array(gauge)
  const workers = lanes.map((lane) => {
    const workerData: LedgerTask = { ...task, lane, ledger, addresses, gauge }
    return new Worker(new URL('ledger-thread.ts', import.meta.url), { workerData })
  })
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  const reports = Promise.all(workers.map((worker) => once(worker, 'message')))
  Atomics.store(cells, 0, 1)
  Atomics.notify(cells, 0)
  const sums = { taken: 0, refused: 0 }
  for (const [{ taken, refused }] of (await reports) as [ThreadsReport][]) {
    sums.taken += taken
    sums.refused += refused
  }
  await Promise.all(workers.map((worker) => worker.terminate()))
  return { ...sums, most: cells[2] ?? 0 }
}

/** A lane's thread dies while it holds places and all locks. */
export async function dieInThread({ ledger, addresses }: Stage, lane: number): Promise<void> {
  const gauge = new SharedArrayBuffer(12)
  new Int32Array(gauge)[0] = 1
  const workerData: LedgerTask = { what: 'die', limit: 8, rounds: 1, lane, ledger, addresses, gauge }
  const worker = new Worker(new URL('ledger-thread.ts', import.meta.url), { workerData })
  worker.on('error', () => {})
  await new Promise((resolve) => worker.once('exit', resolve))
}
