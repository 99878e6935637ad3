/** Lanes with a fault: those that run `mortal-lane.ts` can be killed. */
import { BroadcastChannel } from 'node:worker_threads'

export const MORTAL_LANES = 'culvert-mortal-lanes'
export const MORTAL_LANE = new URL('mortal-lane.ts', import.meta.url)

/** Refuses changes (`refusing-lane.ts`). */
export const REFUSING_LANE = new URL('refusing-lane.ts', import.meta.url)

/** The lane of this number in every endpoint of the process. */
export function killLane(lane: number): void {
  const channel = new BroadcastChannel(MORTAL_LANES)
  channel.postMessage(lane)
  channel.close()
}
