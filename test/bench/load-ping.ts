/**
 * Round trips to an echo through the endpoint and past it, alternating, one at a time. The difference is what the
 * endpoint adds; whatever the machine's load does to the client itself cancels out.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { setPriority } from 'node:os'
import { quantile } from './quantile.ts'
import { Progress, type StartJob } from './load-job.ts'
import { openClient, openTunnel } from './tunnel-client.ts'

const PING = Buffer.alloc(64, 'culvert')
const MAX_SAMPLES = 200_000
const URGENT = -10

/** Sends one ping and resolves when it has come back whole. */
type Ping = () => Promise<void>

export const startPing: StartJob<'ping'> = async (job, access) => {
  try {
    setPriority(URGENT)
  } catch {
    // Without privileges the figures under load hold some waiting for the processor.
  }
  const target = job.targets[0] ?? ''
  const progress = new Progress()
  const client = await openClient(job.protocol, access)
  const echo = new EchoWait()
  const tunnel = await openTunnel(client, target, {
    onData: (chunk) => echo.take(chunk.length),
    onClose: (error) => progress.fail(error),
  })
  const direct = await openDirect(target)
  const samples = { tunnel: [] as number[], direct: [] as number[] }
  const run = async (): Promise<void> => {
    while (samples.tunnel.length < MAX_SAMPLES) {
      samples.direct.push(await timed(direct.ping))
      samples.tunnel.push(await timed(() => echo.after(() => tunnel.write(PING))))
      progress.add(1)
    }
  }
  run().catch((error: unknown) => progress.fail(error instanceof Error ? error : undefined))
  return {
    count: () => progress.count(),
    result: () => ({
      p50: quantile(samples.tunnel, 0.5) - quantile(samples.direct, 0.5),
      p99: quantile(samples.tunnel, 0.99) - quantile(samples.direct, 0.99),
    }),
    stop: () => {
      // The ping under way is never answered, so the loop ends here.
      client.destroy()
      direct.destroy()
    },
  }
}

async function openDirect(target: string): Promise<{ ping: Ping; destroy(): void }> {
  const [host = '', port = ''] = target.split(':')
  const socket = connect({ host, port: Number(port), noDelay: true })
  await once(socket, 'connect')
  const echo = new EchoWait()
  socket.on('error', () => {})
  socket.on('data', (chunk) => echo.take(chunk.length))
  return { ping: () => echo.after(() => socket.write(PING)), destroy: () => socket.destroy() }
}

/** Resolves when the bytes of one ping are back. */
class EchoWait {
  #missing = 0
  #resolve: () => void = () => {}

  after(send: () => void): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#missing = PING.length
    this.#resolve = resolve
    send()
    return promise
  }

  take(bytes: number): void {
    this.#missing -= bytes
    if (this.#missing === 0) this.#resolve()
  }
}

async function timed(ping: Ping): Promise<number> {
  const start = performance.now()
  await ping()
  return (performance.now() - start) * 1000
}
