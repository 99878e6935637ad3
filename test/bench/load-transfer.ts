/** Endless downloads or uploads over a number of streams of one session (HTTP/1.1: as many connections). */
import { Progress, type StartJob } from './load-job.ts'
import { openClient, openTunnel, type Tunnel } from './tunnel-client.ts'

const CHUNK = Buffer.alloc(65_536, 'culvert')

export const startTransfer: StartJob<'transfer'> = async (job, access) => {
  const client = await openClient(job.protocol, access)
  const progress = new Progress()
  const tunnels = await Promise.all(
    Array.from({ length: job.streams }, async (_, index) => {
      const target = job.targets[index % job.targets.length] ?? ''
      const tunnel: Tunnel = await openTunnel(client, target, {
        onData: (chunk) => progress.add(chunk.length),
        onDrain: () => fill(tunnel),
        onClose: (error) => progress.fail(error),
      })
      return tunnel
    }),
  )
  if (job.direction === 'up') for (const tunnel of tunnels) fill(tunnel)
  return { count: () => progress.count(), stop: () => client.destroy() }
}

function fill(tunnel: Tunnel): void {
  while (tunnel.write(CHUNK));
}
