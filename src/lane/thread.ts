/** Entry point of a lane's thread: turns messages of the control thread into calls of the lane. */
import { parentPort, workerData } from 'node:worker_threads'
import { pino } from 'pino'
import { systemClock } from '../clock.ts'
import type { FromLane, LaneBirth, ToLane } from './messages.ts'
import { Lane } from './lane.ts'

const port = parentPort
if (port === null) throw new Error('lane/thread.ts runs as a worker of the supervisor')

const birth = workerData as LaneBirth
const log = pino(
  { level: birth.logLevel, base: null },
  { write: (line: string) => send({ type: 'log', line }) },
)
const deps = { clock: systemClock, log, ticketKeys: Buffer.from(birth.ticketKeys) }
let lane: Lane | undefined

port.on('message', (message: ToLane) => {
  if (message.type === 'destroy') return lane?.destroy(new Error(message.reason))
  const { id } = message
  perform(message).then(
    (value) => send({ type: 'answer', id, value }),
    (error: unknown) => send({ type: 'failure', id, ...describe(error) }),
  )
})

async function perform(message: Exclude<ToLane, { type: 'destroy' }>): Promise<unknown> {
  switch (message.type) {
    case 'start':
      lane = await Lane.open(birth.settings, deps)
      return lane.address
    case 'apply':
      return lane?.apply(message.settings)
    case 'stats':
      return lane?.stats()
    case 'close':
      return lane?.close({ graceMs: message.graceMs })
  }
}

function send(message: FromLane): void {
  port?.postMessage(message)
}

function describe(error: unknown): { message: string; code: string | undefined } {
  if (!(error instanceof Error)) return { message: String(error), code: undefined }
  const { code } = error as NodeJS.ErrnoException
  return { message: error.message, code }
}
