/** CONNECT, one ping through the tunnel, close: again and again, a number of them at any time. */
import { Progress, type StartJob } from './load-job.ts'
import { openClient, type TunnelClient } from './tunnel-client.ts'

const PING = Buffer.from('ping')

export const startConnects: StartJob<'connect'> = async (job, access) => {
  const client = await openClient(job.protocol, access)
  const progress = new Progress()
  let stopped = false
  let turn = 0
  const again = (): void => {
    const target = job.targets[turn++ % job.targets.length] ?? ''
    exchange(client, target, (error) => {
      if (stopped) return
      if (error) return progress.fail(error)
      progress.add(1)
      again()
    })
  }
  for (let index = 0; index < job.concurrency; index++) again()
  return {
    count: () => progress.count(),
    stop: () => {
      stopped = true
      client.destroy()
    },
  }
}

/** `onDone` is called when both directions have ended. */
function exchange(client: TunnelClient, target: string, onDone: (error?: Error) => void): void {
  let answered = 0
  const tunnel = client.open(target, {
    onOpen: () => tunnel.write(PING),
    onData: (chunk) => {
      answered += chunk.length
      if (answered === PING.length) tunnel.end()
    },
    onClose: (error) => {
      onDone(error ?? (answered === PING.length ? undefined : new Error('tunnel ended without an echo')))
    },
  })
}
