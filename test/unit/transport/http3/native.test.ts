/**
 * A batch of events that is not acknowledged counts against the 4096 with which the library stops reading, for good. A
 * fault while room was announced or a batch was finished used to leave the whole batch unacknowledged.
 */
import { expect, test } from 'vitest'
import { Http3Server } from '../../../../src/transport/http3/native.ts'

const DRAIN = 8
const PING_ACK = 17

/** A server whose events fail where `faulty` says; gives what it acknowledged and what was handled. */
function run(
  faulty: string,
  events: readonly number[],
): { acknowledged: number; calls: string[]; faults: number } {
  const seen = { acknowledged: 0, calls: [] as string[], faults: 0 }
  let deliver: (error: Error | null, batch: readonly object[]) => void = () => {}
  class Native {
    constructor(_options: object, onEvents: typeof deliver) {
      deliver = onEvents
    }
    ackEventBatch(count: number): void {
      seen.acknowledged += count
    }
  }
  const note = (name: string) => () => {
    seen.calls.push(name)
    if (name === faulty) throw new Error(name)
    return true
  }
  const listener = {
    onRoom: note('onRoom'),
    onPing: note('onPing'),
    onBatchEnd: note('onBatchEnd'),
    onFault: () => void seen.faults++,
  }
  const server: unknown = Reflect.construct(Http3Server, [{ NativeWorkerServer: Native }, {}, listener, 0])
  expect(server).toBeInstanceOf(Http3Server)
  deliver(
    null,
    events.map((eventType, index) => ({ eventType, connHandle: 1, streamId: index * 4 })),
  )
  return seen
}

test.each(['onPing', 'onRoom', 'onBatchEnd'])('a batch is acknowledged even if %s throws', (faulty) => {
  const seen = run(faulty, [PING_ACK, DRAIN, DRAIN])
  expect(seen.acknowledged).toBe(3)
  expect(seen.faults).toBe(faulty === 'onRoom' ? 2 : 1)
  expect(seen.calls).toEqual(['onPing', 'onRoom', 'onRoom', 'onBatchEnd'])
})
