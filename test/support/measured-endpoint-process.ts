/** The process behind `measured-endpoint.ts`: answers every message with its figures, and ends when nobody listens. */
import { once } from 'node:events'
import { BroadcastChannel } from 'node:worker_threads'
import { startEndpoint } from './endpoint.ts'
import type { EndpointOptions } from './endpoint.ts'
import { HEAP_CHANNEL } from './measured-endpoint.ts'
import type { Figures, HeapMessage } from './measured-endpoint.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as EndpointOptions
const endpoint = await startEndpoint({
  ...options,
  laneThread: new URL('measured-lane.ts', import.meta.url),
})
const channel = new BroadcastChannel(HEAP_CHANNEL)
process.on('message', () => void report())
process.once('disconnect', () => void end())
process.send?.({ port: endpoint.port })

async function report(): Promise<void> {
  const stats = await endpoint.supervisor.stats()
  const answer = once(channel, 'message') as Promise<[{ readonly data: HeapMessage }]>
  channel.postMessage({ type: 'collect' } satisfies HeapMessage)
  const [{ data }] = await answer
  const heapBytes = data.type === 'used' ? data.bytes : NaN
  process.send?.({ stats, heapBytes } satisfies Figures)
}

async function end(): Promise<void> {
  channel.close()
  await endpoint[Symbol.asyncDispose]()
}
