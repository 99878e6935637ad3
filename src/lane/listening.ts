/** Opens the port of a lane, for TCP; HTTP/3 takes the same one for UDP. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import type { LaneShare, ListenAddress } from './messages.ts'

const LISTEN_BACKLOG = 1024
/** Where any port will do, how many are tried until one is free for UDP too. */
const MAX_ATTEMPTS = 20

interface ListenOptions {
  readonly share: LaneShare
  /** HTTP/3 will want the same port. */
  readonly udpToo: boolean
}

/** Several lanes share the port, and the kernel spreads connections over them (SO_REUSEPORT). */
export async function listen(
  server: net.Server,
  { address, port }: ListenAddress,
  { share, udpToo }: ListenOptions,
): Promise<void> {
  const reusePort = share.lanes > 1
  const isAny = port === 0
  if (reusePort && share.lane === 0 && !share.isHeir && !isAny) await expectFree({ address, port })
  for (let attempt = 1; ; attempt++) {
    server.listen({ host: address, port, backlog: LISTEN_BACKLOG, reusePort })
    await listening(server, port)
    if (!isAny || !udpToo || attempt === MAX_ATTEMPTS || (await isFreeForUdp(server))) return
    server.close()
    await once(server, 'close')
  }
}

/** A port that the system gave for TCP may be somebody's for UDP. */
async function isFreeForUdp(server: net.Server): Promise<boolean> {
  const { address, port, family } = server.address() as AddressInfo
  const probe = createSocket(family === 'IPv6' ? 'udp6' : 'udp4')
  const bound = once(probe, 'listening').then(
    () => true,
    () => false,
  )
  probe.bind(port, address)
  const isFree = await bound
  probe.close()
  await once(probe, 'close')
  return isFree
}

/** Another process of the same user could share the port with the lanes, and nobody would notice. */
async function expectFree({ address, port }: ListenAddress): Promise<void> {
  const probe = net.createServer().listen({ host: address, port })
  await listening(probe, port)
  probe.close()
  await once(probe, 'close')
}

async function listening(server: net.Server, port: number): Promise<void> {
  try {
    await once(server, 'listening')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error
    const hint =
      'low ports need the capability CAP_NET_BIND_SERVICE: put AmbientCapabilities=CAP_NET_BIND_SERVICE into the ' +
      'systemd unit, or lower the sysctl net.ipv4.ip_unprivileged_port_start'
    throw Object.assign(new Error(`cannot listen on port ${port}: ${hint}`, { cause: error }), {
      code: 'EACCES',
    })
  }
}
