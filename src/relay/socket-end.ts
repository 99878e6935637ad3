/** A TCP socket as one end of a relay. */
import type { Socket } from 'node:net'
import type { RelayEnd } from './stream-relay.ts'

/** Resetting sends RST, whatever the reason: TCP has no codes. */
export function socketEnd(socket: Socket): RelayEnd {
  return { io: socket, reset: () => resetSocket(socket) }
}

/**
 * libuv refuses to reset a socket whose shutdown is under way (uv_tcp_close_reset, EINVAL), and Node then neither
 * closes it nor says so. The FIN is on its way there already; the kernel follows it with RST if anything arrives.
 */
function resetSocket(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy()
  else socket.resetAndDestroy()
}
