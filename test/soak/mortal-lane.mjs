/** The thread of a built lane that can be made to fail from outside: by its number on a channel. */
import { BroadcastChannel, workerData } from 'node:worker_threads'
import '../../dist/lane/thread.js'

const channel = new BroadcastChannel('culvert-soak-failures')
channel.addEventListener('message', ({ data }) => {
  if (data === workerData.lane) throw Object.assign(new Error('failed on request'), { code: 'ERR_SOAK' })
})
channel.unref()
