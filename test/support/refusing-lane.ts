/**
 * The thread of a lane of which the second refuses every change; and its start as well where the speed test is on, which
 * stands for something that only one lane lacks.
 */
import { workerData } from 'node:worker_threads'
import { Lane } from '../../src/lane/lane.ts'
import type { LaneBirth } from '../../src/lane/messages.ts'

const { lane, settings } = workerData as LaneBirth
if (lane === 1) {
  Lane.prototype.prepare = () => Promise.reject(new Error('refused by lane 1'))
  if (settings.vpn.speedtest_enable) Lane.open = () => Promise.reject(new Error('start refused by lane 1'))
}
await import('../../src/lane/thread.ts')
