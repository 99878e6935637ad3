/** The thread of a real lane with a built-in fault: asked for its figures, it throws an error that nobody catches. */
import { parentPort } from 'node:worker_threads'
import type { ToLane } from '../../src/lane/messages.ts'
import '../../src/lane/thread.ts'

parentPort?.on('message', ({ type }: ToLane) => {
  if (type === 'stats') throw Object.assign(new Error('a fault of our own'), { code: 'ERR_OF_OURS' })
})
