/** Tunnels that are open and do nothing, spread over some sessions. */
import { Progress, type StartJob } from './load-job.ts'
import { openClient, openTunnel, type EndpointAccess, type TunnelClient } from './tunnel-client.ts'

const OPEN_AT_ONCE = 50
const HANDSHAKES_AT_ONCE = 20

export const startIdle: StartJob<'idle'> = async (job, access) => {
  const progress = new Progress()
  const clients = await openClients(job, access)
  let opened = 0
  const openInTurn = async (): Promise<void> => {
    while (opened < job.tunnels) {
      const index = opened++
      const client = clients[index % clients.length]
      const target = job.targets[index % job.targets.length] ?? ''
      if (client === undefined) return
      await openTunnel(client, target, { onClose: (error) => progress.fail(error) })
      progress.add(1)
    }
  }
  const lines = Array.from({ length: OPEN_AT_ONCE }, openInTurn)
  // The bench reads the count in the meantime, and sees there what fails here.
  Promise.all(lines).catch((error: unknown) => progress.fail(error instanceof Error ? error : undefined))
  return {
    count: () => progress.count(),
    stop: () => {
      for (const client of clients) client.destroy()
    },
  }
}

/** A number of handshakes at a time, so that none waits past its limit for those before it. */
async function openClients(
  { sessions, protocol }: Parameters<typeof startIdle>[0],
  access: EndpointAccess,
): Promise<readonly TunnelClient[]> {
  const clients: TunnelClient[] = []
  while (clients.length < sessions) {
    const count = Math.min(HANDSHAKES_AT_ONCE, sessions - clients.length)
    clients.push(...(await Promise.all(Array.from({ length: count }, () => openClient(protocol, access)))))
  }
  return clients
}
