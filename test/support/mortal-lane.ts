/** The thread of a real lane that can be killed: it throws an error that nobody catches when its number is called. */
import { BroadcastChannel, workerData } from 'node:worker_threads'
import type { LaneBirth } from '../../src/lane/messages.ts'
import '../../src/lane/thread.ts'
import { MORTAL_LANES } from './lane-killer.ts'

const { lane } = workerData as LaneBirth
const channel = new BroadcastChannel(MORTAL_LANES)
channel.addEventListener('message', (event) => {
  if ((event as unknown as { data: unknown }).data === lane)
    throw Object.assign(new Error(`lane ${lane} was killed`), { code: 'ERR_KILLED' })
})
channel.unref()
