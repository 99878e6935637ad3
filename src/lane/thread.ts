/** Entry point of a lane's thread: turns messages from the control thread into calls of the lane. */
import { parentPort, workerData } from 'node:worker_threads'
import { pino } from 'pino'
import { systemClock } from '../clock.ts'
import type { Settings } from '../config/settings.ts'
import { collectGarbageOfStart } from '../heap.ts'
import { LogLines } from './log-lines.ts'
import type { FromLane, LaneAnswers, LaneFault, LaneThreadData, ToLane } from './messages.ts'
import { Lane } from './lane.ts'

const port = parentPort
if (port === null) throw new Error('lane/thread.ts runs as a worker of the supervisor')

const BEAT_MS = 1000

const { beats, ...birth } = workerData as LaneThreadData
const lines = new LogLines(systemClock, (text) =>
  port.postMessage({ type: 'log', lines: text } satisfies FromLane),
)
const log = pino({ level: birth.logLevel, base: null }, lines)
const deps = { clock: systemClock, log, ticketKeys: Buffer.from(birth.ticketKeys), share: birth }
/** Set as soon as the start is requested, whether or not the lane has opened. */
let opening: Promise<Lane> | undefined

const beat = new Int32Array(beats)
systemClock.every(BEAT_MS, () => Atomics.add(beat, 0, 1))

// Reported before anything is cleaned up, because cleaning up may hang.
process.on('uncaughtExceptionMonitor', (error) => {
  lines.end()
  send({ type: 'end', fault: describe(error) })
})
// A thread that runs out of work, or is told to exit.
process.on('exit', () => lines.end())

port.on('message', (message: ToLane) => {
  const { id } = message
  perform(message).then(
    (value) => send({ type: 'answer', id, value }),
    (error: unknown) => send({ type: 'failure', id, fault: describe(error) }),
  )
})

async function perform(message: ToLane): Promise<LaneAnswers[ToLane['type']]> {
  if (message.type === 'start') {
    opening ??= Lane.open(settingsFor(message.port), deps)
    const { address } = await opening
    collectGarbageOfStart()
    return address
  }
  if (message.type === 'close') return closeLane(message.graceMs)
  if (opening === undefined) throw new Error('the lane has not been started')
  const lane = await opening
  switch (message.type) {
    case 'stats':
      return lane.stats()
    case 'prepare':
      await lane.prepare(message.settings, message.ledger)
      return undefined
    case 'commit':
      await lane.commit()
      return undefined
    case 'discard':
      lane.discard()
      return undefined
  }
}

function settingsFor(listenPort: number): Settings {
  const { vpn, ...files } = birth.settings
  return { ...files, vpn: { ...vpn, listen_address: { ...vpn.listen_address, port: listenPort } } }
}

/** A lane that never opened needs no closing. */
async function closeLane(graceMs: number): Promise<undefined> {
  const lane = await opening?.catch(() => undefined)
  await lane?.close({ graceMs })
  lines.end()
  return undefined
}

function send(message: FromLane): void {
  lines.flush()
  port?.postMessage(message)
}

function describe(error: unknown): LaneFault {
  if (!(error instanceof Error)) return { message: String(error), code: undefined, stack: undefined }
  const { message, stack, code } = error as NodeJS.ErrnoException
  return { message, code, stack }
}
