/**
 * Origins that treat their connection as no HTTP server would, and a look at what the kernel still holds for their
 * peer.
 */
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'

/** Resolves with what has arrived once it contains a whole head. Nothing more is read: the socket is paused. */
export function readHead(socket: Socket): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  let head = ''
  const onData = (chunk: Buffer): void => {
    head += chunk.toString('latin1')
    if (!head.includes('\r\n\r\n')) return
    socket.off('data', onData)
    socket.pause()
    resolve(head)
  }
  socket.on('data', onData)
  return promise
}

/** Bytes that this machine's kernel has taken from `socket` and the peer's kernel has not acknowledged. */
export async function unacknowledged(socket: Socket): Promise<number> {
  const local = hex(socket.localPort ?? 0)
  const remote = hex(socket.remotePort ?? 0)
  const table = await readFile('/proc/net/tcp', 'latin1')
  for (const line of table.split('\n')) {
    const [, from = '', to = '', , queues = ''] = line.trim().split(/\s+/)
    if (from.endsWith(`:${local}`) && to.endsWith(`:${remote}`))
      return Number.parseInt(queues.split(':')[0] ?? '', 16)
  }
  return 0
}

function hex(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0')
}
