/** Endless downloads or uploads over a number of streams of each session (HTTP/1.1: as many connections). */
import { Progress, type StartJob } from './load-job.ts'
import { openClient, openTunnel, type Tunnel } from './tunnel-client.ts'

const CHUNK = Buffer.alloc(65_536, 'culvert')

export const startTransfer: StartJob<'transfer'> = async (job, access) => {
  const clients = await Promise.all(
    Array.from({ length: job.sessions }, () => openClient(job.protocol, access)),
  )
  const progress = new Progress()
  const opening = clients.flatMap((client, session) =>
    Array.from({ length: job.streams }, async (_, stream) => {
      const index = session * job.streams + stream
      const tunnel: Tunnel = await openTunnel(client, job.targets[index % job.targets.length] ?? '', {
        onData: (chunk) => progress.add(chunk.length),
        onDrain: () => fill(tunnel),
        onClose: (error) => progress.fail(error),
      })
      return tunnel
    }),
  )
  const tunnels = await Promise.all(opening)
  if (job.direction === 'up') for (const tunnel of tunnels) fill(tunnel)
  return {
    count: () => progress.count(),
    stop: () => {
      for (const client of clients) client.destroy()
    },
  }
}

function fill(tunnel: Tunnel): void {
  while (tunnel.write(CHUNK));
}
