/** The thread of a real lane that runs in circles for ever when its number is called. */
import { BroadcastChannel, workerData } from 'node:worker_threads'
import type { LaneBirth } from '../../src/lane/messages.ts'
import '../../src/lane/thread.ts'
import { BEGUN, LOOPING_LANES } from './lane-killer.ts'

const { lane } = workerData as LaneBirth
const channel = new BroadcastChannel(LOOPING_LANES)
channel.addEventListener('message', (event) => {
  if ((event as unknown as { data: unknown }).data !== lane) return
  channel.postMessage(BEGUN)
  for (;;);
})
channel.unref()
