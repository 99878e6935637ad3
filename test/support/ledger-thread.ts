/**
 * One of several threads that use the same ledger at the same time. Takes and gives back places as fast as it can,
 * and reports how often it had one and was refused.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { AddressTable } from '../../src/users/address-table.ts'
import type { AddressTableShare } from '../../src/users/address-table.ts'
import { Ledger } from '../../src/users/ledger.ts'
import { SlotMemory } from '../../src/users/ledger-memory.ts'
import type { LedgerShare } from '../../src/users/ledger-memory.ts'
import { lock } from '../../src/users/shared-lock.ts'

export interface LedgerTask {
  readonly what: 'places' | 'hold' | 'bytes' | 'connections' | 'failures' | 'die'
  readonly lane: number
  readonly ledger: LedgerShare
  readonly addresses: AddressTableShare
  /** Zero until all threads are ready; then how many are inside at the moment, and the most that ever were. */
  readonly gauge: SharedArrayBuffer
  readonly limit: number
  readonly rounds: number
}

const { what, lane, ledger, addresses, gauge, limit, rounds } = workerData as LedgerTask
const [START, INSIDE, MOST] = [0, 1, 2]
const cells = new Int32Array(gauge)
const user = new Ledger(ledger, lane).of('alice')
const table = new AddressTable(addresses, lane)
let [taken, refused] = [0, 0]

function enter(): void {
  taken++
  const inside = Atomics.add(cells, INSIDE, 1) + 1
  for (let most = Atomics.load(cells, MOST); inside > most; most = Atomics.load(cells, MOST))
    if (Atomics.compareExchange(cells, MOST, most, inside) === most) break
}

function leave(): void {
  Atomics.sub(cells, INSIDE, 1)
}

const ADDRESS = '2001:db8::1'
const LIMITS = { connections: limit, handshakes: limit, bucket: { size: 2 ** 30, refillMs: 1 } }

const tasks: Record<LedgerTask['what'], () => void> = {
  places: () => {
    if (!user.take('tunnels', limit)) return void refused++
    enter()
    leave()
    user.give('tunnels')
  },
  // Never gives back: the limit is all that there is.
  hold: () => {
    if (user.take('tunnels', limit)) taken++
    else refused++
  },
  bytes: () => user.addBytes(3, 5),
  connections: () => {
    const hold = table.connect(ADDRESS, LIMITS, 0)
    if (typeof hold === 'string') return void refused++
    enter()
    leave()
    hold.handshakeDone()
    hold.release()
  },
  failures: () => void table.fail(ADDRESS, { size: 2 ** 30, refillMs: 1, floor: 0 }, 0),
  // With all the locks that it needs for a place, and with places.
  die: () => {
    user.take('tunnels', limit)
    table.connect(ADDRESS, LIMITS, 0)
    const locks = new Int32Array(addresses.locks)
    for (let bucket = 0; bucket < locks.length; bucket++) lock(locks, bucket, lane)
    const slot = new SlotMemory(ledger, ledger.slots.get('alice') ?? 0)
    lock(slot.cells, slot.lockAt, lane)
    throw new Error('dead')
  },
}

parentPort?.postMessage('ready')
Atomics.wait(cells, START, 0)
for (let round = 0; round < rounds; round++) tasks[what]()
parentPort?.postMessage({ taken, refused })
