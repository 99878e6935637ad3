/** Lanes with a fault: those that run `mortal-lane.ts` can be killed, those that run `looping-lane.ts` get stuck. */
import { once } from 'node:events'
import { BroadcastChannel } from 'node:worker_threads'

export const MORTAL_LANES = 'culvert-mortal-lanes'
export const MORTAL_LANE = new URL('mortal-lane.ts', import.meta.url)

export const LOOPING_LANES = 'culvert-looping-lanes'
export const LOOPING_LANE = new URL('looping-lane.ts', import.meta.url)

/** Refuses changes (`refusing-lane.ts`). */
export const REFUSING_LANE = new URL('refusing-lane.ts', import.meta.url)

/** The lane of this number in every endpoint of the process. */
export function killLane(lane: number): void {
  call(MORTAL_LANES, lane)
}

/** What a lane says last, before it loops. */
export const BEGUN = 'begun'

/** As {@link killLane}, for an endless loop; resolves when it has begun. */
export async function loopLane(lane: number): Promise<void> {
  const channel = new BroadcastChannel(LOOPING_LANES)
  const begun = once(channel, 'message')
  channel.postMessage(lane)
  await begun
  channel.close()
}

function call(name: string, lane: number): void {
  const channel = new BroadcastChannel(name)
  channel.postMessage(lane)
  channel.close()
}
