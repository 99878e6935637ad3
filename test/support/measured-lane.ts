/** The thread of a real lane that tells how much of its heap is in use after a collection. Needs `--expose-gc`. */
import { getHeapStatistics } from 'node:v8'
import { BroadcastChannel } from 'node:worker_threads'
import '../../src/lane/thread.ts'
import { HEAP_CHANNEL } from './measured-endpoint.ts'
import type { HeapMessage } from './measured-endpoint.ts'

const channel = new BroadcastChannel(HEAP_CHANNEL)
channel.addEventListener('message', (event) => {
  if ((event as unknown as { data: HeapMessage }).data.type !== 'collect') return
  gc?.()
  channel.postMessage({ type: 'used', bytes: getHeapStatistics().used_heap_size } satisfies HeapMessage)
})
channel.unref()
